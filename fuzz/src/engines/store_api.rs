//! One adapter for two engines with the same interface.

/// Makes a function `run_module(&Engine, Store<()>, module, seed) -> Outcome` with the engine of crate `$engine`. The module it is used in
/// has a function `is_exhaustion(&str) -> bool`, which tells by an error's text whether the heap is full: engines say that differently.
macro_rules! store_api {
    ($engine:ident) => {
        use crate::outcome::{
            Ended, INSTANTIATION, Kind, Outcome, State, Step, Trap, Value, arguments, hash,
        };
        use ::$engine::{Engine, Extern, Func, Instance, Module, Store, Val, ValType};

        fn run_module(engine: &Engine, mut store: Store<()>, bytes: &[u8], seed: u64) -> Outcome {
            let module = match Module::from_binary(engine, bytes) {
                Ok(module) => module,
                Err(error) => return Outcome::Refused(format!("{error:#}")),
            };
            let mut steps = Vec::new();
            let instance = Instance::new(&mut store, &module, &[]);
            let instance = match instance {
                Ok(instance) => instance,
                Err(error) => {
                    steps.push(Step {
                        what: INSTANTIATION.into(),
                        ended: failed(&mut store, &error),
                        state: State::default(),
                    });
                    return Outcome::Ran(steps);
                }
            };
            steps.push(Step {
                what: INSTANTIATION.into(),
                ended: Ended::Returned(Vec::new()),
                state: state(&mut store, instance),
            });
            let mut functions: Vec<_> = module
                .exports()
                .filter_map(|export| Some((export.name().to_string(), export.ty().func()?.clone())))
                .collect();
            // Engines list exports in different orders.
            functions.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (index, (name, ty)) in functions.into_iter().enumerate() {
                let kinds: Vec<Kind> = ty.params().map(|ty| kind(&ty)).collect();
                let Some(values) = arguments(seed, index, &kinds) else {
                    continue;
                };
                let Some(func) = instance.get_func(&mut store, &name) else {
                    continue;
                };
                let args: Vec<Val> = ty
                    .params()
                    .zip(values)
                    .map(|(ty, value)| argument(&ty, value))
                    .collect();
                let results = ty.results().len();
                let ended = call(&mut store, func, &args, results);
                let over = matches!(ended, Ended::Exhausted(_));
                steps.push(Step {
                    what: format!("{name:?}, call {index}"),
                    ended,
                    state: state(&mut store, instance),
                });
                if over {
                    break;
                }
            }
            Outcome::Ran(steps)
        }

        fn call(store: &mut Store<()>, func: Func, args: &[Val], results: usize) -> Ended {
            let mut values = vec![Val::I32(0); results];
            match func.call(&mut *store, args, &mut values) {
                Ok(()) => Ended::Returned(values.iter().map(|v| value(store, v)).collect()),
                Err(error) => failed(store, &error),
            }
        }

        fn kind(ty: &ValType) -> Kind {
            match ty {
                ValType::I32 => Kind::I32,
                ValType::I64 => Kind::I64,
                ValType::F32 => Kind::F32,
                ValType::F64 => Kind::F64,
                ValType::V128 => Kind::V128,
                ValType::Ref(ty) if ty.is_nullable() => Kind::Nullable,
                ValType::Ref(_) => Kind::NotNullable,
            }
        }

        fn argument(ty: &ValType, value: Value) -> Val {
            match value {
                Value::I32(v) => Val::I32(v as i32),
                Value::I64(v) => Val::I64(v as i64),
                Value::F32(v) => Val::F32(v),
                Value::F64(v) => Val::F64(v),
                Value::V128(v) => Val::V128(v.into()),
                Value::Null | Value::I31(_) | Value::Reference => match ty {
                    ValType::Ref(ty) => Val::null_ref(ty.heap_type()),
                    _ => unreachable!("null is for references"),
                },
            }
        }

        fn number(value: &Val) -> Option<Value> {
            Some(match value {
                Val::I32(v) => Value::I32(*v as u32),
                Val::I64(v) => Value::I64(*v as u64),
                Val::F32(v) => Value::F32(*v),
                Val::F64(v) => Value::F64(*v),
                Val::V128(v) => Value::V128(v.as_u128()),
                _ => return None,
            })
        }

        /// What can be seen from outside.
        fn state(store: &mut Store<()>, instance: Instance) -> State {
            let exports: Vec<(String, Extern)> = instance
                .exports(&mut *store)
                .map(|export| (export.name().to_string(), export.into_extern()))
                .collect();
            let mut state = State::default();
            for (name, export) in exports {
                match export {
                    Extern::Global(global) => {
                        let content = global.get(&mut *store);
                        state.globals.push((name, value(store, &content)));
                    }
                    Extern::Memory(memory) => {
                        let bytes = memory.data(&*store);
                        state.memories.push((name, bytes.len(), hash(bytes)));
                    }
                    Extern::Table(table) => state.tables.push((name, table.size(&*store))),
                    _ => {}
                }
            }
            state.sort();
            state
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

        fn failed(store: &mut Store<()>, error: &$engine::Error) -> Ended {
            use $engine::Trap as T;
            if error.is::<$engine::ThrownException>() {
                store.take_pending_exception();
                return Ended::Threw;
            }
            let Some(trap) = error.downcast_ref::<T>() else {
                let text = format!("{error:#}");
                return match is_exhaustion(&text) {
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
                T::StackOverflow | T::AllocationTooLarge => {
                    return Ended::Exhausted(trap.to_string())
                }
                other => {
                    let text = other.to_string();
                    return match is_exhaustion(&text) {
                        true => Ended::Exhausted(text),
                        false => Ended::Failed(text),
                    };
                }
            })
        }
    };
}

pub(super) use store_api;
