//! State of host functions: whose it is, how it is reached again while it is in use, and when it goes.

use cowling::*;
use std::sync::Arc;

#[test]
fn each_store_has_its_own_state_for_an_import_made_on_first_use_and_dropped_with_it() {
    let engine = Engine::default();
    let alive = Arc::new(());
    let mut linker = Linker::<u32>::new(&engine);
    let counted = alive.clone();
    linker
        .func_wrap_with_env(
            "h",
            "next",
            move |store| Ok((*store.data(), counted.clone())),
            |mut env: FunctionEnvMut<'_, u32, (u32, Arc<()>)>, by: u32| {
                let ((state, _), data) = env.data_and_store_mut();
                *state += by;
                *data += 1;
                *state
            },
        )
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "h" "next" (func $next (param i32) (result i32))) (export "next" (func $next)))"#,
    )
    .unwrap();
    for start in [100, 200] {
        let mut store = Store::new(&engine, start);
        let instances = [(); 2].map(|()| linker.instantiate(&mut store, &module).unwrap());
        assert_eq!(Arc::strong_count(&alive), 2, "made on first use");
        for (turn, instance) in instances.iter().enumerate() {
            let next = instance
                .get_typed_func::<u32, u32>(&mut store, "next")
                .unwrap();
            let expected = start + 5 * (turn as u32 + 1);
            assert_eq!(next.call(&mut store, 5).unwrap(), expected);
        }
        assert_eq!(Arc::strong_count(&alive), 3);
        assert_eq!(*store.data(), start + 2);
        drop(store);
        assert_eq!(Arc::strong_count(&alive), 2);
    }
}

#[test]
fn a_function_that_is_called_again_by_the_guest_it_calls_shares_the_state_with_itself() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let env = FunctionEnv::new(&mut store, Vec::new());
    let again = Func::wrap_with_env(
        &mut store,
        &env,
        |mut env: FunctionEnvMut<'_, (), Vec<i32>>, depth: i32| -> Result<()> {
            env.data_mut().push(depth);
            if depth > 0 {
                let guest = env.get_export("again").and_then(Extern::into_func);
                let guest = guest.unwrap().typed::<i32, ()>(&env)?;
                guest.call(&mut env, depth - 1)?;
            }
            assert!(matches!(
                env.as_env().remove(&mut env),
                Err(EnvError::InUse(_))
            ));
            env.data_mut().push(-depth);
            Ok(())
        },
    )
    .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $again (param i32))) (func (export "again") (param i32) (call $again (local.get 0))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[again.into()]).unwrap();
    let guest = instance
        .get_typed_func::<i32, ()>(&mut store, "again")
        .unwrap();
    guest.call(&mut store, 3).unwrap();
    assert_eq!(env.as_ref(&store).unwrap(), &[3, 2, 1, 0, 0, -1, -2, -3]);
    env.as_mut(&mut store).unwrap().clear();
    guest.call(&mut store, 0).unwrap();
    assert_eq!(env.remove(&mut store).unwrap(), [0, 0]);
    let error = guest.call(&mut store, 0).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(EnvError::Removed(_))),
        "{error:?}"
    );
    // Another one in its place is not taken for it.
    let other = FunctionEnv::new(&mut store, "other");
    assert_eq!(*other.as_ref(&store).unwrap(), "other");
    assert!(matches!(env.as_ref(&store), Err(EnvError::Removed(_))));
    assert!(guest.call(&mut store, 0).is_err());
}

#[test]
fn state_of_another_store_or_a_removed_one_is_refused() {
    let engine = Engine::default();
    let (mut a, mut b) = (Store::new(&engine, ()), Store::new(&engine, ()));
    let env = FunctionEnv::new(&mut a, 1u8);
    FunctionEnv::new(&mut b, 2u8);
    let function = |_: FunctionEnvMut<'_, (), u8>| {};
    let error = Func::wrap_with_env(&mut b, &env, function).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(EnvError::WrongStore(_))
    ));
    let ty = FuncType::new(&engine, [], []);
    let dynamic = |_: FunctionEnvMut<'_, (), u8>, _: &[Val], _: &mut [Val]| Ok(());
    let error = Func::new_with_env(&mut b, &env, ty, dynamic).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(EnvError::WrongStore(_))
    ));
    assert!(matches!(env.as_ref(&b), Err(EnvError::WrongStore(_))));
    assert!(matches!(env.as_mut(&mut b), Err(EnvError::WrongStore(_))));
    assert!(matches!(env.remove(&mut b), Err(EnvError::WrongStore(_))));
    assert_eq!(env.remove(&mut a).unwrap(), 1);
    assert!(matches!(env.remove(&mut a), Err(EnvError::Removed(_))));
}

#[test]
fn state_that_cannot_be_made_is_the_error_of_the_call_and_a_panic_leaves_the_state_usable() {
    let engine = Engine::default();
    let mut linker = Linker::<bool>::new(&engine);
    linker
        .func_wrap_with_env(
            "",
            "f",
            |store: StoreContextMut<'_, bool>| {
                ensure!(*store.data(), "there is no state yet");
                Ok(7)
            },
            |env: FunctionEnvMut<'_, bool, i32>, panic: i32| {
                assert_eq!(panic, 0, "asked to panic");
                *env.data()
            },
        )
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "" "f" (func $f (param i32) (result i32))) (export "f" (func $f)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, false);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let f = instance
        .get_typed_func::<i32, i32>(&mut store, "f")
        .unwrap();
    let error = f.call(&mut store, 0).unwrap_err();
    assert!(format!("{error:#}").contains("there is no state yet"));
    *store.data_mut() = true;
    assert_eq!(f.call(&mut store, 0).unwrap(), 7);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f.call(&mut store, 1)));
    assert!(panicked.is_err());
    assert_eq!(f.call(&mut store, 0).unwrap(), 7);
}
