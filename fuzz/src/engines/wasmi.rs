//! Wasmi: an interpreter, so it shares no code generator with the others.

use crate::generate::Target;
use crate::outcome::{
    Ended, INSTANTIATION, Kind, Outcome, State, Step, Trap, Value, arguments, hash,
};
use wasmi::{
    Config, Engine, Error, Extern, ExternType, Func, Instance, Linker, Module, Store, TrapCode,
    V128, Val, ValType,
};

struct Wasmi(Engine);

/// Wasmi with all it has of a target.
pub(super) fn engine(target: Target) -> Box<dyn super::Engine> {
    let new = target == Target::Version3;
    let mut config = Config::default();
    config
        .wasm_tail_call(new)
        .wasm_extended_const(new)
        .wasm_memory64(new)
        .wasm_multi_memory(new)
        .wasm_custom_page_sizes(new)
        .wasm_wide_arithmetic(new)
        .wasm_simd(true)
        .wasm_relaxed_simd(new);
    Box::new(Wasmi(Engine::new(&config)))
}

impl super::Engine for Wasmi {
    fn name(&self) -> String {
        "wasmi".into()
    }

    /// It has no garbage collection, exceptions, or threads.
    fn knows_all(&self) -> bool {
        false
    }

    fn run(&self, bytes: &[u8], seed: u64) -> Outcome {
        let module = match Module::new(&self.0, bytes) {
            Ok(module) => module,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let mut store = Store::new(&self.0, ());
        let mut steps = Vec::new();
        let instance = match Linker::new(&self.0).instantiate_and_start(&mut store, &module) {
            Ok(instance) => instance,
            Err(error) => {
                steps.push(Step {
                    what: INSTANTIATION.into(),
                    ended: failed(&error),
                    state: State::default(),
                });
                return Outcome::Ran(steps);
            }
        };
        steps.push(Step {
            what: INSTANTIATION.into(),
            ended: Ended::Returned(Vec::new()),
            state: state(&store, instance),
        });
        let mut functions: Vec<_> = module
            .exports()
            .filter_map(|export| match export.ty() {
                ExternType::Func(ty) => Some((export.name().to_string(), ty.clone())),
                _ => None,
            })
            .collect();
        // Engines list exports in different orders.
        functions.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (index, (name, ty)) in functions.into_iter().enumerate() {
            let kinds: Vec<Kind> = ty.params().iter().map(kind).collect();
            let Some(values) = arguments(seed, index, &kinds) else {
                continue;
            };
            let Some(func) = instance.get_func(&store, &name) else {
                continue;
            };
            let args: Vec<Val> = ty.params().iter().zip(values).map(argument).collect();
            let ended = call(&mut store, func, &args, ty.results());
            let over = matches!(ended, Ended::Exhausted(_));
            steps.push(Step {
                what: format!("{name:?}, call {index}"),
                ended,
                state: state(&store, instance),
            });
            if over {
                break;
            }
        }
        Outcome::Ran(steps)
    }
}

fn call(store: &mut Store<()>, func: Func, args: &[Val], results: &[ValType]) -> Ended {
    let mut values: Vec<Val> = results.iter().map(|ty| Val::default(*ty)).collect();
    match func.call(&mut *store, args, &mut values) {
        Ok(()) => Ended::Returned(values.iter().map(value).collect()),
        Err(error) => failed(&error),
    }
}

fn kind(ty: &ValType) -> Kind {
    match ty {
        ValType::I32 => Kind::I32,
        ValType::I64 => Kind::I64,
        ValType::F32 => Kind::F32,
        ValType::F64 => Kind::F64,
        ValType::V128 => Kind::V128,
        ValType::FuncRef | ValType::ExternRef => Kind::Nullable,
    }
}

fn argument((ty, value): (&ValType, Value)) -> Val {
    match value {
        Value::I32(v) => Val::I32(v as i32),
        Value::I64(v) => Val::I64(v as i64),
        Value::F32(v) => Val::F32(f32::from_bits(v).into()),
        Value::F64(v) => Val::F64(f64::from_bits(v).into()),
        Value::V128(v) => Val::V128(V128::from(v)),
        Value::Null | Value::I31(_) | Value::Reference => Val::default(*ty),
    }
}

fn value(value: &Val) -> Value {
    let is_null = match value {
        Val::I32(v) => return Value::I32(*v as u32),
        Val::I64(v) => return Value::I64(*v as u64),
        Val::F32(v) => return Value::F32(v.to_bits()),
        Val::F64(v) => return Value::F64(v.to_bits()),
        Val::V128(v) => return Value::V128(v.as_u128()),
        Val::FuncRef(v) => v.is_null(),
        Val::ExternRef(v) => v.is_null(),
    };
    if is_null {
        Value::Null
    } else {
        Value::Reference
    }
}

fn failed(error: &Error) -> Ended {
    let Some(code) = error.as_trap_code() else {
        // Segments that do not fit are no traps there.
        let text = error.to_string();
        return match () {
            () if text.starts_with("out of bounds table access") => {
                Ended::Trapped(Trap::TableOutOfBounds)
            }
            () if text.starts_with("out of bounds memory access") => {
                Ended::Trapped(Trap::MemoryOutOfBounds)
            }
            () => Ended::Failed(text),
        };
    };
    Ended::Trapped(match code {
        TrapCode::UnreachableCodeReached => Trap::Unreachable,
        TrapCode::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        TrapCode::TableOutOfBounds => Trap::TableOutOfBounds,
        TrapCode::IndirectCallToNull => Trap::NoSuchFunction,
        TrapCode::IntegerDivisionByZero => Trap::DivisionByZero,
        TrapCode::IntegerOverflow => Trap::IntegerOverflow,
        TrapCode::BadConversionToInteger => Trap::BadConversion,
        TrapCode::BadSignature => Trap::WrongFunctionType,
        TrapCode::StackOverflow => return Ended::Exhausted(code.to_string()),
        other => return Ended::Failed(other.to_string()),
    })
}

fn state(store: &Store<()>, instance: Instance) -> State {
    let mut state = State::default();
    for export in instance.exports(store) {
        let name = export.name().to_string();
        match export.into_extern() {
            Extern::Global(global) => state.globals.push((name, value(&global.get(store)))),
            Extern::Memory(memory) => {
                let bytes = memory.data(store);
                state.memories.push((name, bytes.len(), hash(bytes)));
            }
            Extern::Table(table) => state.tables.push((name, table.size(store))),
            Extern::Func(_) => {}
        }
    }
    state.sort();
    state
}
