//! Wasmtime.

use super::store_api::store_api;
use crate::outcome::Trap;
use anyhow::{Result, anyhow};
use wasmtime::{Config, ThrownException};

store_api!(wasmtime);

struct Wasmtime(Engine);

/// Wasmtime with everything that is standard.
pub(super) fn engine() -> Result<Box<dyn super::Engine>> {
    let mut config = Config::new();
    config
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_tail_call(true)
        .wasm_memory64(true)
        .wasm_multi_memory(true)
        .wasm_extended_const(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_wide_arithmetic(true)
        .wasm_custom_page_sizes(true)
        .wasm_threads(true)
        .shared_memory(true);
    let engine = Engine::new(&config).map_err(|error| anyhow!("wasmtime: {error:#}"))?;
    Ok(Box::new(Wasmtime(engine)))
}

impl super::Engine for Wasmtime {
    fn name(&self) -> String {
        "wasmtime".into()
    }

    /// Compact imports are newer than it.
    fn knows_all(&self) -> bool {
        false
    }

    fn run(&self, module: &[u8], seed: u64) -> Outcome {
        run_module(&self.0, Store::new(&self.0, ()), module, seed)
    }
}

fn value(store: &mut Store<()>, value: &Val) -> Value {
    let is_null = match value {
        Val::FuncRef(v) => v.is_none(),
        Val::ExternRef(v) => v.is_none(),
        Val::ExnRef(v) => v.is_none(),
        Val::AnyRef(Some(any)) => {
            return match any.as_i31(&*store) {
                Ok(Some(small)) => Value::I31(small.get_u32()),
                _ => Value::Reference,
            };
        }
        Val::AnyRef(None) => true,
        other => return number(other).unwrap_or(Value::Reference),
    };
    if is_null {
        Value::Null
    } else {
        Value::Reference
    }
}

fn failed(store: &mut Store<()>, error: &wasmtime::Error) -> Ended {
    use wasmtime::Trap as T;
    if error.is::<ThrownException>() {
        store.take_pending_exception();
        return Ended::Threw;
    }
    let Some(trap) = error.downcast_ref::<T>() else {
        let text = format!("{error:#}");
        return match text.contains("out of memory") || text.contains("GC heap") {
            true => Ended::Exhausted(text),
            false => Ended::Failed(text),
        };
    };
    Ended::Trapped(match trap {
        T::UnreachableCodeReached => Trap::Unreachable,
        T::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        T::TableOutOfBounds => Trap::TableOutOfBounds,
        T::IndirectCallToNull => Trap::NoSuchFunction,
        T::IntegerDivisionByZero => Trap::DivisionByZero,
        T::IntegerOverflow => Trap::IntegerOverflow,
        T::BadConversionToInteger => Trap::BadConversion,
        T::BadSignature => Trap::WrongFunctionType,
        T::NullReference => Trap::NullReference,
        T::CastFailure => Trap::BadCast,
        T::ArrayOutOfBounds => Trap::ArrayOutOfBounds,
        T::HeapMisaligned => Trap::Misaligned,
        T::AtomicWaitNonSharedMemory => Trap::UnsharedWait,
        T::StackOverflow | T::AllocationTooLarge => return Ended::Exhausted(trap.to_string()),
        other => return Ended::Failed(other.to_string()),
    })
}
