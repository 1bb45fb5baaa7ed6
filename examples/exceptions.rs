//! Exceptions that cross between guest and host, both ways.
//!
//! ```sh
//! cargo run --example exceptions
//! ```

use cowling::{
    Caller, Engine, ExnRef, ExnRefPre, ExnType, Linker, Module, OwnedRooted, Result, Store, Tag,
    ThrownException, Trap, Val, ValType,
};

// ANCHOR: guest
/// Looks up words in the host's dictionary. `find` catches the exception "not found"; `find_all` does not.
const GUEST: &str = r#"(module
    (import "dictionary" "not found" (tag $not_found (param i32)))
    (import "dictionary" "look up" (func $look_up (param i32) (result i32)))
    (func (export "find") (param $word i32) (result i32)
        (block $nowhere (result i32)
            (return
                (try_table (result i32) (catch $not_found $nowhere) (call $look_up (local.get $word)))))
        (i32.mul (i32.const -1)))
    (func (export "find_all") (param $words i32)
        (loop $next
            (drop (call $look_up (local.get $words)))
            (br_if $next (local.tee $words (i32.sub (local.get $words) (i32.const 1))))))
    (func (export "give_up") (throw $not_found (i32.const 99)))
    (func (export "fail")
        (block $caught
            (try_table (catch_all $caught) unreachable))))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);

    // ANCHOR: throw
    let ty = ExnType::new(&engine, [ValType::I32])?;
    let not_found = Tag::new(&mut store, &ty.tag_type())?;
    let pre = ExnRefPre::new(&mut store, ty);
    linker.define(&store, "dictionary", "not found", not_found)?;
    linker.func_wrap(
        "dictionary",
        "look up",
        move |mut caller: Caller<'_, ()>, word: i32| -> Result<i32> {
            if word % 2 == 0 {
                return Ok(word * 100);
            }
            let exception = ExnRef::new(&mut caller, &pre, &not_found, &[Val::I32(word)])?;
            caller.throw(exception)
        },
    )?;
    // ANCHOR_END: throw

    let instance = linker.instantiate(&mut store, &module)?;
    // ANCHOR: caught
    let find = instance.get_typed_func::<i32, i32>(&mut store, "find")?;
    for word in [4, 5] {
        println!("find({word}) = {}", find.call(&mut store, word)?);
    }
    // ANCHOR_END: caught

    // ANCHOR: uncaught
    let find_all = instance.get_typed_func::<i32, ()>(&mut store, "find_all")?;
    let error = find_all.call(&mut store, 4).unwrap_err();
    println!("find_all: {}", error.root_cause());
    if let Some(thrown) = error.downcast_ref::<ThrownException>() {
        let exception = OwnedRooted::<ExnRef>::from(thrown).to_rooted(&mut store);
        let ours = Tag::eq(&exception.tag(&store)?, &not_found, &store);
        let word = exception.field(&mut store, 0)?.unwrap_i32();
        println!("it is our exception: {ours}; the word is {word}");
    }
    // ANCHOR_END: uncaught

    // ANCHOR: trap
    let give_up = instance.get_typed_func::<(), ()>(&mut store, "give_up")?;
    println!(
        "give_up: {}",
        give_up.call(&mut store, ()).unwrap_err().root_cause()
    );
    let fail = instance.get_typed_func::<(), ()>(&mut store, "fail")?;
    let error = fail.call(&mut store, ()).unwrap_err();
    println!(
        "a trap is not caught: {}",
        error.downcast_ref::<Trap>().expect("it trapped")
    );
    // ANCHOR_END: trap
    Ok(())
}
