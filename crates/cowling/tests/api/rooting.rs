//! `Rooted` and `OwnedRooted`: what they deref to, what they are equal to, how long they are good.

use crate::support::assert_says;
use cowling::*;
use std::hash::{DefaultHasher, Hasher};

fn hash(of: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut state = DefaultHasher::new();
    of(&mut state);
    state.finish()
}

/// A struct of one mutable `i32`, an array of two, an exception and a host value.
struct Objects {
    store: Store<()>,
    object: Rooted<StructRef>,
    array: Rooted<ArrayRef>,
    exception: Rooted<ExnRef>,
    host: Rooted<ExternRef>,
}

fn objects() -> Objects {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let field = FieldType::new(Mutability::Var, StorageType::ValType(ValType::I32));
    let ty = StructType::new(&engine, [field.clone()]).unwrap();
    let pre = StructRefPre::new(&mut store, ty);
    let object = StructRef::new(&mut store, &pre, &[Val::I32(1)]).unwrap();
    let pre = ArrayRefPre::new(&mut store, ArrayType::new(&engine, field));
    let array = ArrayRef::new(&mut store, &pre, &Val::I32(2), 2).unwrap();
    let ty = ExnType::new(&engine, [ValType::I32]).unwrap();
    let tag = Tag::new(&mut store, &ty.tag_type()).unwrap();
    let pre = ExnRefPre::new(&mut store, ty);
    let exception = ExnRef::new(&mut store, &pre, &tag, &[Val::I32(3)]).unwrap();
    let host = ExternRef::new(&mut store, 4i32).unwrap();
    Objects {
        store,
        object,
        array,
        exception,
        host,
    }
}

#[test]
fn methods_of_objects_are_those_of_both_references_and_paths_name_them() {
    let Objects {
        mut store,
        object,
        array,
        exception,
        host,
    } = objects();
    let owned = object.to_owned_rooted(&mut store).unwrap();
    owned.set_field(&mut store, 0, Val::I32(10)).unwrap();
    let first = owned.fields(&mut store).unwrap().next();
    let cast = owned.clone().to_anyref().unwrap_struct(&store).unwrap();
    let read = [
        StructRef::field(&object, &mut store, 0).unwrap(),
        StructRef::field(&owned, &mut store, 0).unwrap(),
        first.unwrap(),
        cast.field(&mut store, 0).unwrap(),
    ];
    assert!(read.iter().all(|v| v.i32() == Some(10)), "{read:?}");
    let owned = array.to_owned_rooted(&mut store).unwrap();
    assert_eq!(ArrayRef::len(&owned, &store).unwrap(), 2);
    assert!(owned.to_eqref().is_array(&store).unwrap());
    let owned = exception.to_owned_rooted(&mut store).unwrap();
    assert_eq!(ExnRef::field(&owned, &mut store, 0).unwrap().i32(), Some(3));
    let owned = host.to_owned_rooted(&mut store).unwrap();
    let data = ExternRef::data_mut(&owned, &mut store).unwrap().unwrap();
    *data.downcast_mut::<i32>().unwrap() += 1;
    let data = ExternRef::data(&host, &store).unwrap().unwrap();
    assert_eq!(data.downcast_ref(), Some(&5));
}

#[test]
fn equality_and_hashes_of_objects_and_of_roots() {
    let Objects {
        mut store,
        object,
        array,
        ..
    } = objects();
    let owned = object.to_owned_rooted(&mut store).unwrap();
    let again = owned.to_rooted(&mut store);
    assert!(Rooted::ref_eq(&store, &object, &owned).unwrap());
    assert!(OwnedRooted::ref_eq(&store, &again, &owned).unwrap());
    assert!(Rooted::rooted_eq(object, object) && !Rooted::rooted_eq(object, again));
    let of_object = hash(|state| object.ref_hash(&store, state).unwrap());
    assert_eq!(
        of_object,
        hash(|state| again.ref_hash(&store, state).unwrap())
    );
    assert_eq!(of_object, hash(|state| owned.ref_hash(&store, state)));
    assert_ne!(
        of_object,
        hash(|state| array.ref_hash(&store, state).unwrap())
    );
    let of_root = hash(|state| object.rooted_hash(state));
    assert_ne!(of_root, hash(|state| again.rooted_hash(state)));
    assert_eq!(
        hash(|state| owned.rooted_hash(state)),
        hash(|state| owned.clone().rooted_hash(state))
    );
}

#[test]
fn what_an_owned_reference_derefs_to_is_refused_when_that_was_dropped_and_its_object_is_gone() {
    let Objects { mut store, .. } = objects();
    let (copied, raw) = {
        let mut scope = RootScope::new(&mut store);
        scope.reserve(100);
        let host = ExternRef::new(&mut scope, 7u8).unwrap();
        let owned = host.to_owned_rooted(&mut scope).unwrap();
        (*owned, owned.to_raw(&scope).unwrap())
    };
    store.gc(None).unwrap();
    assert_says(&copied.data(&store).unwrap_err(), &["root"]);
    assert!(ExternRef::from_raw(&mut store, raw).is_none());
}

#[test]
fn numbers_lead_back_to_what_is_alive_and_no_other_number_leads_anywhere() {
    let Objects {
        mut store,
        object,
        array,
        exception,
        host,
    } = objects();
    let store = &mut store;
    for reference in [object.to_anyref(), array.to_anyref()] {
        let raw = reference.to_raw(&*store).unwrap();
        let again = AnyRef::from_raw(&mut *store, raw).unwrap();
        assert!(Rooted::ref_eq(&*store, &reference, &again).unwrap());
        // Neither next to it nor inside of it there is anything.
        for other in [raw - 2, raw + 2, raw + 8, raw + (1 << 20)] {
            assert!(
                AnyRef::from_raw(&mut *store, other).is_none(),
                "{raw} {other}"
            );
        }
        assert!(ExnRef::from_raw(&mut *store, raw).is_none());
    }
    let number = AnyRef::from_i31(&mut *store, I31::wrapping_i32(-3));
    let raw = number.to_raw(&*store).unwrap();
    let again = AnyRef::from_raw(&mut *store, raw).unwrap();
    assert_eq!(again.as_i31(&*store).unwrap(), I31::new_i32(-3));
    let raw = host.to_raw(&*store).unwrap();
    let again = ExternRef::from_raw(&mut *store, raw).unwrap();
    assert!(again.data(&*store).unwrap().is_some());
    let raw = exception.to_raw(&*store).unwrap();
    assert!(ExnRef::from_raw(&mut *store, raw).is_some());
    assert!(ExternRef::from_raw(&mut *store, raw).is_none());
    for raw in [
        0,
        2,
        8,
        64 << 10,
        i32::MAX as u32 - 1,
        1 << 31,
        u32::MAX - 1,
    ] {
        assert!(AnyRef::from_raw(&mut *store, raw).is_none(), "{raw}");
        assert!(ExternRef::from_raw(&mut *store, raw).is_none(), "{raw}");
        assert!(ExnRef::from_raw(&mut *store, raw).is_none(), "{raw}");
    }
}

#[test]
fn arrays_of_bytes_are_copied_whole() {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let array_of = |storage| ArrayType::new(&engine, FieldType::new(Mutability::Const, storage));
    let bytes = ArrayRefPre::new(&mut store, array_of(StorageType::I8));
    let shorts = ArrayRefPre::new(&mut store, array_of(StorageType::I16));
    for len in [0, 1, 5, 300, 100_000] {
        let given: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let array = ArrayRef::new_from_i8_slice(&mut store, &bytes, &given).unwrap();
        let mut found = vec![0; len];
        array.copy_to_i8_slice(&mut store, &mut found).unwrap();
        assert_eq!(found, given);
        let mut longer = vec![0; len + 1];
        let error = array.copy_to_i8_slice(&mut store, &mut longer).unwrap_err();
        assert_says(&error, &[&len.to_string(), &(len + 1).to_string()]);
    }
    let error = ArrayRef::new_from_i8_slice(&mut store, &shorts, &[1]).unwrap_err();
    assert_says(&error, &["i8"]);
    let array = ArrayRef::new(&mut store, &shorts, &Val::I32(1), 2).unwrap();
    assert_says(
        &array.copy_to_i8_slice(&store, &mut [0; 2]).unwrap_err(),
        &["i8"],
    );
}

#[test]
fn typed_functions_take_more_general_references_than_defined_types_and_check_what_they_are() {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let module = Module::new(
        &engine,
        r#"(module
            (type $s (struct (field i32)))
            (type $f (func (result i32)))
            (func $seven (export "seven") (type $f) (i32.const 7))
            (func (export "other") (param i32))
            (func (export "make") (result (ref $s)) (struct.new $s (i32.const 5)))
            (func (export "get") (param (ref $s)) (result i32) (struct.get $s 0 (local.get 0)))
            (func (export "call") (param (ref null $f)) (result i32)
                (if (result i32) (ref.is_null (local.get 0)) (then (i32.const -1))
                    (else (call_ref $f (local.get 0))))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let make = instance.get_typed_func::<(), OwnedRooted<StructRef>>(&mut store, "make");
    let object = make.unwrap().call(&mut store, ()).unwrap();
    let rooted = object.to_rooted(&mut store);
    let empty = StructType::new(&engine, []).unwrap();
    let empty = StructRefPre::new(&mut store, empty);
    let empty = StructRef::new(&mut store, &empty, &[]).unwrap();
    let store = &mut store;
    let as_struct = instance
        .get_typed_func::<Rooted<StructRef>, i32>(&mut *store, "get")
        .unwrap();
    assert_eq!(as_struct.call(&mut *store, rooted).unwrap(), 5);
    let error = as_struct.call(&mut *store, empty).unwrap_err();
    assert_says(&error, &["argument 0", "type mismatch"]);
    let as_any = instance.get_typed_func::<Option<OwnedRooted<AnyRef>>, i32>(&mut *store, "get");
    let as_any = as_any.unwrap();
    let object = object.to_anyref();
    assert_eq!(as_any.call(&mut *store, Some(object)).unwrap(), 5);
    assert_says(
        &as_any.call(&mut *store, None).unwrap_err(),
        &["argument 0"],
    );
    assert!(
        instance
            .get_typed_func::<Rooted<ArrayRef>, i32>(&mut *store, "get")
            .is_err()
    );
    assert!(
        instance
            .get_typed_func::<Option<NoneRef>, i32>(&mut *store, "get")
            .is_err()
    );
    assert!(
        instance
            .get_typed_func::<NoneRef, i32>(&mut *store, "get")
            .is_ok()
    );
    let [seven, other] =
        ["seven", "other"].map(|name| instance.get_func(&mut *store, name).unwrap());
    let call = instance
        .get_typed_func::<Option<Func>, i32>(&mut *store, "call")
        .unwrap();
    assert_eq!(call.call(&mut *store, Some(seven)).unwrap(), 7);
    assert_eq!(call.call(&mut *store, None).unwrap(), -1);
    assert_says(
        &call.call(&mut *store, Some(other)).unwrap_err(),
        &["argument 0"],
    );
    let call = instance
        .get_typed_func::<Func, i32>(&mut *store, "call")
        .unwrap();
    assert_eq!(call.call(&mut *store, seven).unwrap(), 7);
    let call = instance
        .get_typed_func::<Option<NoFunc>, i32>(&mut *store, "call")
        .unwrap();
    assert_eq!(call.call(&mut *store, NoFunc::null()).unwrap(), -1);
}

#[test]
fn host_functions_take_and_return_references_of_every_kind() {
    let mut store = Store::<()>::default();
    let twice = Func::wrap(
        &mut store,
        |f: Func, o: OwnedRooted<ExternRef>, n: Option<NoneRef>| {
            (f, o.clone(), o, n, NoExtern::null(), V128::from(1))
        },
    );
    let ty = twice.ty(&store).to_string();
    assert_eq!(
        ty,
        "(func (param (ref func) (ref extern) nullref) (result (ref func) (ref extern) (ref extern) nullref nullexternref v128))"
    );
    let host = ExternRef::new(&mut store, 1u8).unwrap();
    type Results = (
        Func,
        Rooted<ExternRef>,
        OwnedRooted<ExternRef>,
        Option<Rooted<StructRef>>,
        Option<NoExtern>,
        V128,
    );
    let typed = twice.typed::<(Func, Rooted<ExternRef>, Option<NoneRef>), Results>(&store);
    let results = typed
        .unwrap()
        .call(&mut store, (twice, host, None))
        .unwrap();
    assert!(results.0 == twice && results.3.is_none() && results.5.as_u128() == 1);
    assert!(Rooted::ref_eq(&store, &results.1, &results.2).unwrap());
}

#[test]
fn what_is_not_there_is_an_error_that_says_what_there_is() {
    let Objects {
        mut store,
        object,
        array,
        exception,
        ..
    } = objects();
    let errors = [
        (
            object.field(&mut store, 1).unwrap_err(),
            ["1 fields", "at 1"],
        ),
        (
            array.get(&mut store, 2).unwrap_err(),
            ["2 elements", "at 2"],
        ),
        (
            exception.field(&mut store, 1).unwrap_err(),
            ["1 values", "at 1"],
        ),
    ];
    for (error, expected) in errors {
        assert_says(&error, &expected);
    }
}
