//! From function bodies to machine code: lowers and generates every function and trampoline of a module, on all cores.
//!
//! Nothing but machine code and its tables outlives a function: its CLIF and the code generator's state are reused for the
//! next one on the same thread.

use crate::clif::ClifFiles;
use crate::code::{Code, Generator, Locations};
use crate::effort::Effort;
use crate::error::{CompileError, FunctionLabel};
use crate::fixed_tables::FixedTables;
use crate::incremental::Incremental;
use crate::inlining::Candidates;
use crate::lower::{self, Lowered, ModuleEnv, Variables};
use crate::operator_cost::OperatorCost;
use crate::optimize;
use crate::parse::{Body, Parsed};
use crate::queue;
use crate::trampoline::{self, Trampoline};
use cowling_abi::entity::{EntityRef, PrimaryMap};
use cowling_abi::knobs::{Inlining, Knobs};
use cowling_abi::layout::VmLayout;
use cowling_abi::{DefinedFuncIndex, FuncType, ModuleInfo, Representation, TypeIndex};
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilderContext;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use wasmparser::FuncValidatorAllocations;

/// All machine code of a module.
pub(crate) struct ModuleCode {
    /// Code of defined functions.
    pub functions: PrimaryMap<DefinedFuncIndex, Code>,
    /// Entry trampoline and host shim for each way in which functions are called.
    pub trampolines: Vec<[Code; 2]>,
    /// Where the bodies of defined functions begin in the binary.
    pub starts: PrimaryMap<DefinedFuncIndex, u32>,
    /// For each type of the module its place in `trampolines`, if it is a function type.
    pub types: PrimaryMap<TypeIndex, Option<usize>>,
    /// Tables whose contents code may refer to.
    pub fixed_tables: FixedTables,
}

impl ModuleCode {
    /// Bytes of the largest frame.
    pub(crate) fn largest_frame(&self) -> u32 {
        let trampolines = self.trampolines.iter().flatten();
        let all = self.functions.values().chain(trampolines);
        all.map(|code| code.frame).max().unwrap_or(0)
    }
}

/// What a thread reuses from function to function.
struct Worker {
    generator: Generator,
    builder: FunctionBuilderContext,
    validation: FuncValidatorAllocations,
}

/// What all threads look at.
struct Shared<'a, 'wasm> {
    parsed: &'a Parsed<'wasm>,
    env: ModuleEnv<'a>,
    aside: Aside<'a>,
    /// The machine, for functions on which little is spent.
    least_effort: &'a dyn TargetIsa,
    /// A function type for each way in which functions are called.
    types: Vec<&'a FuncType>,
    /// How large all functions are that have been lowered so far, and may be.
    size: AtomicUsize,
    max_size: usize,
}

impl Shared<'_, '_> {
    /// A function as errors name it.
    fn label(&self, index: DefinedFuncIndex) -> FunctionLabel {
        let index = self.env.info.func_index(index);
        let name = self.parsed.name(index).map(str::to_string);
        FunctionLabel::Function { index, name }
    }

    /// Takes a function that has been lowered into account.
    ///
    /// # Errors
    /// When all together are out of proportion to the binary.
    fn add_size(&self, function: &Function) -> Result<(), CompileError> {
        let size = function.dfg.num_values().max(function.dfg.num_insts());
        let before = self.size.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) > self.max_size {
            return Err(CompileError::TooLarge {
                what: format!(
                    "its functions need more than {} values or instructions in all",
                    self.max_size
                ),
            });
        }
        Ok(())
    }
}

/// Values and instructions that the functions of any module may need. A function may take two bytes of the binary and have a thousand of
/// them, as parameters.
const BASE_SIZE: usize = 1 << 21;

/// What they may need beyond, for each byte of their bodies. It is less than one in large programs.
const SIZE_OF_BYTE: usize = 8;

/// Where things are in the module's VMContext.
fn vm_layout(parsed: &Parsed<'_>) -> Result<VmLayout, CompileError> {
    VmLayout::new(&parsed.info).ok_or_else(|| CompileError::TooLarge {
        what: "its instances would need more than 1 GiB for globals, tables and functions".into(),
    })
}

/// Most ways in which functions are called, of one module. Each costs two trampolines, so that a few bytes of type section cost as much
/// as a large function; the largest programs there are have some thousands.
const MAX_WAYS: usize = 1 << 15;

/// The ways in which functions of the module's types are called, each by one such type, and which way is whose. Types that differ in
/// what references refer to may have the same.
fn distinct_calls(info: &ModuleInfo) -> (Vec<&FuncType>, PrimaryMap<TypeIndex, Option<usize>>) {
    let mut known = HashMap::new();
    let mut distinct = Vec::new();
    let places = info.types.values().map(|ty| {
        let ty = ty.composite.as_func()?;
        let way: SmallVec<[Option<Representation>; 16]> = ty.representations().collect();
        Some(*known.entry(way).or_insert_with(|| {
            distinct.push(ty);
            distinct.len() - 1
        }))
    });
    let places = places.collect();
    (distinct, places)
}

/// What is compiled for, and how.
#[derive(Copy, Clone)]
pub(crate) struct Target<'a> {
    /// The machine.
    pub isa: &'a dyn TargetIsa,
    /// The same, for functions on which little is spent.
    pub least_effort: &'a dyn TargetIsa,
    /// Settings.
    pub knobs: &'a Knobs,
    /// What operators cost in fuel.
    pub costs: &'a OperatorCost,
}

/// The functions that may be inlined, if any may.
fn candidates<'a>(parsed: &'a Parsed<'_>, knobs: &Knobs) -> Option<Candidates<'a>> {
    let wanted = knobs.compiler_inlining == Inlining::Yes;
    wanted.then(|| Candidates::new(&parsed.info, &parsed.bodies))
}

/// What else goes on while a module is compiled, without changing what comes out.
#[derive(Copy, Clone)]
pub(crate) struct Aside<'a> {
    /// Where the intermediate code is written down, if it is.
    pub clif: Option<&'a ClifFiles>,
    /// Where functions are that were compiled before.
    pub store: Option<Incremental<'a>>,
    /// Told how many functions are done, of how many, from several threads.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// Compiles everything.
pub(crate) fn compile(
    parsed: &Parsed<'_>,
    target: Target<'_>,
    aside: Aside<'_>,
) -> Result<ModuleCode, CompileError> {
    let layout = vm_layout(parsed)?;
    let fixed_tables = FixedTables::find(parsed, target.knobs)?;
    let (types, places) = distinct_calls(&parsed.info);
    if types.len() > MAX_WAYS {
        return Err(CompileError::TooLarge {
            what: format!(
                "its functions would be called in {} ways, the limit is {MAX_WAYS}",
                types.len()
            ),
        });
    }
    let candidates = candidates(parsed, target.knobs);
    let shared = Shared {
        parsed,
        env: ModuleEnv {
            info: &parsed.info,
            layout: &layout,
            knobs: target.knobs,
            costs: target.costs,
            isa: target.isa,
            fixed_tables: &fixed_tables,
            hints: &parsed.hints,
            inlining: candidates.as_ref(),
        },
        aside,
        least_effort: target.least_effort,
        types,
        size: AtomicUsize::new(0),
        max_size: {
            let bytes = parsed.bodies.values().map(|b| b.body.as_bytes().len());
            BASE_SIZE.saturating_add(bytes.sum::<usize>().saturating_mul(SIZE_OF_BYTE))
        },
    };

    // Tasks: functions, then two trampolines for each way of being called.
    let functions = parsed.bodies.len();
    let order = queue::costly_first(functions + 2 * shared.types.len(), |task| {
        let body = parsed.bodies.get(DefinedFuncIndex::new(task));
        body.map_or(0, |b| b.body.as_bytes().len() as u64)
    });
    let done = AtomicU64::new(0);
    let task = |worker: &mut Worker, task: usize| match task.checked_sub(functions) {
        None => {
            let code = worker.function(&shared, DefinedFuncIndex::new(task))?;
            let done = 1 + done.fetch_add(1, Ordering::Relaxed);
            (aside.progress)(done, functions as u64);
            Ok(code)
        }
        Some(task) => {
            let kind = [Trampoline::Entry, Trampoline::HostShim][task % 2];
            worker.trampoline(&shared, shared.types[task / 2], kind)
        }
    };
    let code = queue::run(&order, target.knobs.parallel_compilation, Worker::new, task);
    if code.as_ref().is_err_and(CompileError::is_too_large) {
        // Which functions had been looked at when all were too large is chance. What is wrong with one of them is not.
        validate(parsed, target.knobs)?;
    }
    let mut code = code?;

    let mut trampolines = Vec::with_capacity(shared.types.len());
    let mut rest = code.drain(functions..);
    while let (Some(entry), Some(shim)) = (rest.next(), rest.next()) {
        trampolines.push([entry, shim]);
    }
    drop(rest);
    Ok(ModuleCode {
        functions: code.into_iter().collect(),
        trampolines,
        starts: parsed.bodies.values().map(|b| b.place().start).collect(),
        types: places,
        fixed_tables,
    })
}

/// The CLIF of one function before the code generator, as text; before optimisations of our own, too, unless it shall be `optimized`.
pub(crate) fn clif(
    parsed: &Parsed<'_>,
    target: Target<'_>,
    index: DefinedFuncIndex,
    optimized: bool,
) -> Result<String, CompileError> {
    let layout = vm_layout(parsed)?;
    let fixed_tables = FixedTables::find(parsed, target.knobs)?;
    let candidates = candidates(parsed, target.knobs);
    let env = ModuleEnv {
        info: &parsed.info,
        layout: &layout,
        knobs: target.knobs,
        costs: target.costs,
        isa: target.isa,
        fixed_tables: &fixed_tables,
        hints: &parsed.hints,
        inlining: candidates.as_ref(),
    };
    let body = parsed.bodies.get(index).ok_or(CompileError::Invalid {
        offset: 0,
        message: format!("there is no {index}"),
    })?;
    let mut worker = Worker::new();
    worker.lower(&env, index, body)?;
    if optimized {
        optimize::run(&mut worker.generator.context.func, env.info, env.knobs);
    }
    Ok(worker.generator.context.func.display().to_string())
}

/// Validates all function bodies.
pub(crate) fn validate(parsed: &Parsed<'_>, knobs: &Knobs) -> Result<(), CompileError> {
    let order = queue::costly_first(parsed.bodies.len(), |task| {
        let body = &parsed.bodies[DefinedFuncIndex::new(task)].body;
        body.as_bytes().len() as u64
    });
    let parallel = knobs.parallel_compilation;
    let task = |allocations: &mut FuncValidatorAllocations, task: usize| {
        let body = &parsed.bodies[DefinedFuncIndex::new(task)];
        let mut validator = body.validator(mem::take(allocations));
        let mut reader = body.body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        while !reader.eof() {
            let position = reader.original_position();
            reader.visit_operator(&mut validator.visitor(position))??;
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        *allocations = validator.into_allocations();
        Ok(())
    };
    queue::run(&order, parallel, FuncValidatorAllocations::default, task)?;
    Ok(())
}

impl Worker {
    fn new() -> Self {
        Worker {
            generator: Generator::new(),
            builder: FunctionBuilderContext::new(),
            validation: FuncValidatorAllocations::default(),
        }
    }

    /// Forgets the last function.
    fn clear(&mut self) {
        self.generator.context.clear();
        // It leaves these, and each function would go through those of all before it.
        self.generator.context.func.dfg.exception_tables.clear();
    }

    /// Leaves the CLIF of a function in the context.
    fn lower(
        &mut self,
        env: &ModuleEnv<'_>,
        index: DefinedFuncIndex,
        body: &Body<'_>,
    ) -> Result<Lowered, CompileError> {
        let plain = without_inlining(env);
        let lowered = match self.lower_with(env, index, body, Variables::Usual) {
            // What went wrong may have nothing to do with the function itself.
            Err(error) if env.inlining.is_some() && !error.is_too_large() => {
                self.lower_with(&plain, index, body, Variables::Usual)
            }
            lowered => lowered,
        };
        match lowered {
            // It may be only what its locals, and what was inlined, make of it that is.
            Err(error) if error.is_too_large() => {
                self.lower_with(&plain, index, body, Variables::None)
            }
            lowered => lowered,
        }
    }

    fn lower_with(
        &mut self,
        env: &ModuleEnv<'_>,
        index: DefinedFuncIndex,
        body: &Body<'_>,
        variables: Variables,
    ) -> Result<Lowered, CompileError> {
        self.clear();
        let mut validator = body.validator(mem::take(&mut self.validation));
        let lowered = lower::lower_function(
            env,
            index,
            &mut validator,
            &body.body,
            variables,
            &mut self.builder,
            &mut self.generator.context.func,
        );
        self.validation = validator.into_allocations();
        lowered
    }

    fn function(
        &mut self,
        shared: &Shared<'_, '_>,
        index: DefinedFuncIndex,
    ) -> Result<Code, CompileError> {
        let env = &shared.env;
        let lowered = self.lower(env, index, &shared.parsed.bodies[index]);
        let lowered = lowered.map_err(|error| error.in_function(shared.label(index)))?;
        shared.add_size(&self.generator.context.func)?;
        let inlined = !lowered.sites.is_empty();
        let code = self.generate(shared, index, lowered);
        if !inlined || code.is_ok() {
            return code;
        }
        // It may be only what was inlined that makes it too large.
        let env = without_inlining(env);
        let lowered = self.lower(&env, index, &shared.parsed.bodies[index]);
        let lowered = lowered.map_err(|error| error.in_function(shared.label(index)))?;
        self.generate(shared, index, lowered)
    }

    /// Makes code of the CLIF in the context.
    fn generate(
        &mut self,
        shared: &Shared<'_, '_>,
        index: DefinedFuncIndex,
        lowered: Lowered,
    ) -> Result<Code, CompileError> {
        let env = &shared.env;
        if let Some(clif) = shared.aside.clif {
            clif.write(index, &self.generator.context.func)?;
        }
        optimize::run(&mut self.generator.context.func, env.info, env.knobs);
        let body = &shared.parsed.bodies[index];
        debug_assert!((lowered.sites.iter()).all(|site| lowered.depends_on.contains(&site.callee)));
        // Which functions there are frames of does not depend on whether anybody wants to know where in them.
        let locations = match env.knobs.generate_address_map || !lowered.sites.is_empty() {
            true => Locations::Keep(body.place().start),
            false => Locations::Drop,
        };
        let code = self.generate_or_recall(shared, locations);
        let mut code = code.map_err(|message| CompileError::Codegen {
            function: shared.label(index),
            message,
        })?;
        code.reserve_arguments(lowered.tail_call_values);
        code.begin_with_body();
        code.sites = lowered.sites.into();
        Ok(code)
    }

    /// Machine code for the function in the context.
    fn generate_or_recall(
        &mut self,
        shared: &Shared<'_, '_>,
        locations: Locations,
    ) -> Result<Code, String> {
        let isa = match Effort::for_function(&self.generator.context.func) {
            Effort::Full => shared.env.isa,
            Effort::Least => {
                let name = &self.generator.context.func.name;
                tracing::debug!("function {name} is out of all proportion: it is not optimised");
                shared.least_effort
            }
        };
        let Some(store) = &shared.aside.store else {
            return self.generator.generate(isa, locations);
        };
        let key = store.key(&self.generator.context.func, locations);
        if let Some(code) = store.get(&key, &self.generator.context.func, locations) {
            return Ok(code);
        }
        let code = self.generator.generate(isa, locations)?;
        store.put(&key, &code, &self.generator.context.func, locations);
        Ok(code)
    }

    fn trampoline(
        &mut self,
        shared: &Shared<'_, '_>,
        ty: &FuncType,
        kind: Trampoline,
    ) -> Result<Code, CompileError> {
        let isa = shared.env.isa;
        self.clear();
        trampoline::build(
            kind,
            ty,
            isa,
            &mut self.builder,
            &mut self.generator.context.func,
        );
        let locations = match shared.env.knobs.generate_address_map {
            // So that it is known to come from nowhere.
            true => Locations::Keep(0),
            false => Locations::Drop,
        };
        self.generator
            .generate(isa, locations)
            .map_err(|message| CompileError::Codegen {
                function: FunctionLabel::Trampoline(ty.to_string()),
                message,
            })
    }
}

fn without_inlining<'a>(env: &ModuleEnv<'a>) -> ModuleEnv<'a> {
    ModuleEnv {
        inlining: None,
        ..*env
    }
}
