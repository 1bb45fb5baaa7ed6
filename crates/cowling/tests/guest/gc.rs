//! Guests that are stopped at any instruction while they make objects.

use crate::support::guest;
use cowling::*;
use std::thread;
use std::time::Duration;

#[test]
fn a_guest_preempted_anywhere_keeps_its_objects_while_the_host_makes_others() {
    let mut guest = guest(include_str!("../../../../guests/gc/binary_trees.wat"));
    let preempter = guest.preempter();
    let (sender, done) = std::sync::mpsc::channel::<()>();
    let asking = thread::spawn(move || {
        while done.recv_timeout(Duration::from_micros(50)).is_err() {
            // It may just not be running.
            let _ = preempter.preempt();
        }
    });
    let mut store = guest.as_context_mut();
    let field = FieldType::new(Mutability::Var, ValType::ANYREF.into());
    let ty = StructType::new(store.engine(), [field]).unwrap();
    let pre = StructRefPre::new(&mut store, ty);
    let mut kept: Option<OwnedRooted<StructRef>> = None;
    let mut made = 0;
    let mut result = guest.run("run", &[Val::I32(14)]);
    while matches!(result, Ok(RunResult::Preempted)) {
        let mut scope = RootScope::new(&mut guest);
        // A list of the host's, one longer each time.
        let before = match &kept {
            Some(kept) => Val::from(kept.to_rooted(&mut scope)),
            None => Val::null_any_ref(),
        };
        let object = StructRef::new(&mut scope, &pre, &[before]).unwrap();
        kept = Some(object.to_owned_rooted(&mut scope).unwrap());
        made += 1;
        // Nothing can be collected now.
        let collections = scope.as_context_mut().gc_stats().collections;
        scope.as_context_mut().gc(None).unwrap();
        assert_eq!(scope.as_context_mut().gc_stats().collections, collections);
        drop(scope);
        result = guest.resume();
    }
    sender.send(()).unwrap();
    asking.join().unwrap();
    let sum = match result {
        Ok(RunResult::Returned(values)) => values[0].unwrap_i64(),
        other => panic!("did not return: {other:?}"),
    };
    assert_eq!(sum, 3_156_655);
    let mut length = 0;
    let mut next = kept.map(|kept| kept.to_rooted(&mut guest));
    while let Some(object) = next {
        length += 1;
        let before = object.field(&mut guest, 0).unwrap();
        let before = before.unwrap_any_ref().copied();
        next = before.map(|before| before.unwrap_struct(&guest).unwrap());
    }
    assert_eq!(length, made);
}

#[test]
fn a_guest_that_was_reset_begins_with_an_empty_heap() {
    let mut guest = guest(include_str!("../../../../guests/gc/graph.wat"));
    for _ in 0..3 {
        let result = guest.run("run", &[Val::I32(3)]).unwrap();
        let RunResult::Returned(values) = result else {
            panic!("did not return: {result:?}");
        };
        assert_eq!(values[0].unwrap_i64(), 47_648_158_513);
        guest.reset().unwrap();
        assert_eq!(guest.as_context_mut().gc_stats().collections, 0);
        guest.as_context_mut().gc(None).unwrap();
        assert_eq!(guest.as_context_mut().gc_stats().live_bytes, 0);
    }
}
