//! One piece of machine code, as it comes from the code generator: bytes and what has to be known about them. Offsets are
//! from the start of the piece.

use crate::emit::unwind;
use crate::lower::traps;
use crate::origin::{self, NO_LOCATION, Site};
use crate::settle;
use cowling_abi::artifact::{CallSite, Catch};
use cowling_abi::entity::PrimaryMap;
use cowling_abi::layout::VmValue;
use cowling_abi::{DefinedFuncIndex, DefinedTableIndex, TagIndex, TrapSite};
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function, UserExternalName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_codegen::{
    CodegenError, CodegenResult, CompiledCode, Context, ExceptionContextLoc,
    FinalizedMachExceptionHandler, FinalizedMachReloc, FinalizedRelocTarget,
};
use std::mem;
use std::ops::Range;

/// Bytes of a frame above the frame pointer, and the saved one.
const RETURN_ADDRESS_AND_FP: u32 = 16;

/// A function or trampoline.
pub(crate) struct Code {
    /// The machine code, constants included.
    pub bytes: Box<[u8]>,
    /// What its start must be a multiple of.
    pub align: u32,
    /// Bytes of its frame, return address and saved frame pointer included.
    pub frame: u32,
    /// References to other pieces of the module.
    pub references: Vec<Reference>,
    /// Instructions that may trap, sorted by offset.
    pub traps: Vec<(u32, TrapSite)>,
    /// Where code from another operator begins, sorted by offset: its location, or [`NO_LOCATION`].
    pub locations: Vec<(u32, u32)>,
    /// Calls that were replaced by bodies, in the order of their locations.
    pub sites: Box<[Site]>,
    /// Calls inside a `try_table`, sorted by return offset.
    pub call_sites: Vec<CallSite>,
    /// How to unwind it, as `.eh_frame` has it; empty if nobody knows.
    pub unwind: Box<[u8]>,
}

/// A place where the distance to another piece is to be filled in, as a signed 32-bit number.
#[derive(Debug)]
pub(crate) struct Reference {
    /// Where.
    pub offset: u32,
    /// Which piece.
    pub to: Piece,
    /// What to add to the distance from that place to the start of the piece.
    pub addend: i64,
}

/// What code refers to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A function, to call it.
    Function(DefinedFuncIndex),
    /// The list of a fixed table.
    List(DefinedTableIndex),
}

impl Piece {
    /// Its name in CLIF.
    pub(crate) fn name(self) -> UserExternalName {
        match self {
            Piece::Function(index) => UserExternalName::new(0, index.as_u32()),
            Piece::List(table) => UserExternalName::new(1, table.as_u32()),
        }
    }

    pub(crate) fn named(name: &UserExternalName) -> Option<Piece> {
        match name.namespace {
            0 => Some(Piece::Function(DefinedFuncIndex::from_u32(name.index))),
            1 => Some(Piece::List(DefinedTableIndex::from_u32(name.index))),
            _ => None,
        }
    }
}

/// Values for which there are registers in any case.
const VALUES_IN_REGISTERS: u32 = 6;

impl Code {
    /// Notes that the function makes room for as many values of a tail call at the top of its frame, as far as they are not in
    /// registers: the code generator does not count it.
    pub(crate) fn reserve_arguments(&mut self, values: u32) {
        let on_stack = values.saturating_sub(VALUES_IN_REGISTERS);
        let bytes = on_stack.saturating_mul(size_of::<VmValue>() as u32);
        self.frame = self.frame.saturating_add(bytes);
    }

    /// Notes that what it does before its first operator is of the start of its body. From this one follows how far into its function
    /// an operator is.
    pub(crate) fn begin_with_body(&mut self) {
        if let Some((0, location @ NO_LOCATION)) = self.locations.first_mut() {
            *location = 0;
        }
    }
}

impl Code {
    /// Position in the binary of a location in it, if it is one. `body` is where the function's body begins, `starts` where others do.
    pub(crate) fn position(
        &self,
        location: u32,
        body: u32,
        starts: &PrimaryMap<DefinedFuncIndex, u32>,
    ) -> Option<u32> {
        if location == NO_LOCATION {
            return None;
        }
        Some(match origin::site_of(&self.sites, location) {
            None => body + location,
            Some(number) => {
                let site = &self.sites[number as usize];
                starts[site.callee] + (location - site.start)
            }
        })
    }

    /// Where code from another body begins, in order, with its site.
    ///
    /// What is of no operator goes on with what was before. If it may trap it is of the function itself: it may be anyone's, and it is better
    /// to name a function too few than one that was not active.
    pub(crate) fn begins_of_sites(&self) -> impl Iterator<Item = (u32, Option<u32>)> {
        let mut current = None;
        let len = self.bytes.len() as u32;
        let next = self.locations.iter().skip(1).map(|(offset, _)| *offset);
        let ranges = self.locations.iter().zip(next.chain([len]));
        let sites = ranges.filter_map(|(&(offset, location), end)| match location {
            NO_LOCATION => self.may_trap(offset..end).then_some((offset, None)),
            location => Some((offset, origin::site_of(&self.sites, location))),
        });
        let end = (len, None);
        sites
            .chain([end])
            .filter(move |(_, site)| mem::replace(&mut current, *site) != *site)
    }

    /// Is there an instruction in this range that may trap?
    fn may_trap(&self, range: Range<u32>) -> bool {
        let first = self
            .traps
            .partition_point(|(offset, _)| *offset < range.start);
        (self.traps.get(first)).is_some_and(|(offset, _)| *offset < range.end)
    }
}

/// What is kept of where code comes from.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Locations {
    /// Nothing.
    Drop,
    /// Locations. The function's body begins at this position.
    Keep(u32),
}

/// What a thread reuses from one function to the next.
pub(crate) struct Generator {
    pub context: Context,
    registers: regalloc2::Ctx,
}

impl Generator {
    pub(crate) fn new() -> Generator {
        Generator {
            context: Context::new(),
            registers: regalloc2::Ctx::default(),
        }
    }

    /// Generates code for the function in the context.
    ///
    /// # Errors
    /// What the code generator refuses, in its words.
    pub(crate) fn generate(
        &mut self,
        isa: &dyn TargetIsa,
        locations: Locations,
    ) -> Result<Code, String> {
        let compiled = self.compile(isa, locations).map_err(|error| match error {
            // Its own message says no more than "verifier errors".
            CodegenError::Verifier(errors) => errors.to_string(),
            error => error.to_string(),
        })?;
        code_of(&compiled, &self.context.func, isa, locations)
    }

    fn compile(
        &mut self,
        isa: &dyn TargetIsa,
        locations: Locations,
    ) -> CodegenResult<CompiledCode> {
        let mut control_plane = ControlPlane::default();
        self.context.optimize(isa, &mut control_plane)?;
        let function = &mut self.context.func;
        if matches!(locations, Locations::Keep(_)) {
            settle::run(function);
        }
        let domtree = &self.context.domtree;
        let registers = &mut self.registers;
        let stencil =
            isa.compile_function(function, domtree, registers, false, &mut control_plane)?;
        Ok(stencil.apply_params(&function.params))
    }
}

/// What is kept of compiled code.
fn code_of(
    compiled: &CompiledCode,
    function: &Function,
    isa: &dyn TargetIsa,
    locations: Locations,
) -> Result<Code, String> {
    let buffer = &compiled.buffer;
    let references = (buffer.relocs().iter()).map(|r| reference(r, function));
    let traps = buffer.traps().iter().map(|trap| {
        let meaning = traps::from_clif(trap.code);
        meaning
            .map(|meaning| (trap.offset, meaning))
            .ok_or_else(|| format!("unknown trap code `{}`", trap.code))
    });
    Ok(Code {
        bytes: buffer.data().into(),
        align: buffer.alignment,
        frame: buffer.frame_layout().map_or(u32::MAX, |layout| {
            layout
                .frame_to_fp_offset
                .saturating_add(RETURN_ADDRESS_AND_FP)
        }),
        references: references.collect::<Result<_, _>>()?,
        traps: traps.collect::<Result<_, _>>()?,
        locations: match locations {
            Locations::Keep(start) => self::locations(compiled, start),
            Locations::Drop => Vec::new(),
        },
        sites: Box::default(),
        call_sites: call_sites(compiled)?,
        unwind: match compiled
            .create_unwind_info(isa)
            .map_err(|e| e.to_string())?
        {
            Some(UnwindInfo::SystemV(info)) => unwind::rules(isa, &info)?,
            _ => Box::default(),
        },
    })
}

fn reference(reloc: &FinalizedMachReloc, function: &Function) -> Result<Reference, String> {
    let unexpected = || {
        Err(format!(
            "unexpected relocation {:?} to {}",
            reloc.kind,
            reloc.target.display(Some(&function.params))
        ))
    };
    let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = &reloc.target else {
        return unexpected();
    };
    let piece = Piece::named(&function.params.user_named_funcs()[*name]);
    let Some(to) = piece.filter(|_| reloc.kind == Reloc::X86CallPCRel4) else {
        return unexpected();
    };
    Ok(Reference {
        offset: reloc.offset,
        to,
        addend: reloc.addend,
    })
}

/// Locations, neighbours with the same one merged.
fn locations(compiled: &CompiledCode, start: u32) -> Vec<(u32, u32)> {
    let mut locations: Vec<(u32, u32)> = Vec::new();
    let mut push = |offset, location| {
        if locations.last().is_none_or(|(_, last)| *last != location) {
            locations.push((offset, location));
        }
    };
    let mut end = 0;
    for range in compiled.buffer.get_srclocs_sorted() {
        if range.start > end {
            push(end, NO_LOCATION);
        }
        let location = match range.loc.is_default() {
            true => NO_LOCATION,
            false => range.loc.bits().wrapping_sub(start),
        };
        push(range.start, location);
        end = range.end;
    }
    if end < compiled.buffer.total_size() {
        push(end, NO_LOCATION);
    }
    locations
}

/// Calls that an exception may be caught at.
fn call_sites(compiled: &CompiledCode) -> Result<Vec<CallSite>, String> {
    let mut sites = Vec::new();
    for site in compiled.buffer.call_sites() {
        if site.exception_handlers.is_empty() {
            continue;
        }
        let mut context = None;
        let mut catches = Vec::new();
        for handler in site.exception_handlers {
            let (tag, handler) = match *handler {
                FinalizedMachExceptionHandler::Context(place) => match (place, context) {
                    (ExceptionContextLoc::SPOffset(offset), None) => {
                        context = Some(offset);
                        continue;
                    }
                    _ => return Err(format!("unexpected exception context at {place:?}")),
                },
                FinalizedMachExceptionHandler::Tag(tag, handler) => {
                    (Some(TagIndex::from_u32(tag.as_u32())), handler)
                }
                FinalizedMachExceptionHandler::Default(handler) => (None, handler),
            };
            catches.push(Catch { tag, handler });
        }
        let (Some(context), Some(frame_size)) = (context, site.frame_offset) else {
            return Err("a call site with handlers lacks its context or frame size".into());
        };
        sites.push(CallSite {
            return_offset: site.ret_addr,
            frame_size,
            context,
            catches,
        });
    }
    sites.sort_by_key(|site| site.return_offset);
    Ok(sites)
}
