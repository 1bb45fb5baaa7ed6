//! Structs and arrays: made, read and written by host and guests, kept alive and freed, through every kind of place.

use crate::support::{assert_says, instance, linked, trap};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn struct_type(engine: &Engine, fields: &[StorageType]) -> StructType {
    let fields = fields
        .iter()
        .map(|ty| FieldType::new(Mutability::Var, ty.clone()));
    StructType::new(engine, fields).unwrap()
}

fn array_type(engine: &Engine, element: StorageType) -> ArrayType {
    ArrayType::new(engine, FieldType::new(Mutability::Var, element))
}

fn store() -> Store<()> {
    Store::default()
}

/// Counts how many of these are alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn fields_of_every_type_hold_what_they_are_given() {
    let mut store = store();
    let engine = store.engine().clone();
    let all = [
        StorageType::I8,
        ValType::I64.into(),
        StorageType::I16,
        ValType::V128.into(),
        ValType::F32.into(),
        ValType::FUNCREF.into(),
        ValType::EXTERNREF.into(),
        ValType::F64.into(),
        ValType::ANYREF.into(),
        ValType::I32.into(),
    ];
    let ty = struct_type(&engine, &all);
    let pre = StructRefPre::new(&mut store, ty.clone());
    let host = ExternRef::new(&mut store, 7u8).unwrap();
    let func = Func::wrap(&mut store, || 5i32);
    let number = AnyRef::from_i31(&mut store, I31::wrapping_i32(-9));
    let values = [
        Val::I32(-1),
        Val::I64(1 << 40),
        Val::I32(-2),
        Val::V128(V128::from(1u128 << 100 | 3)),
        Val::F32(1.5f32.to_bits()),
        func.into(),
        host.into(),
        Val::F64((-2.5f64).to_bits()),
        number.into(),
        Val::I32(i32::MIN),
    ];
    let object = StructRef::new(&mut store, &pre, &values).unwrap();
    store.gc(None).unwrap();
    let found: Vec<Val> = object.fields(&mut store).unwrap().collect();
    assert_eq!(found[0].i32(), Some(0xff));
    assert_eq!(found[1].i64(), Some(1 << 40));
    assert_eq!(found[2].i32(), Some(0xfffe));
    assert_eq!(found[3].v128().map(u128::from), Some(1 << 100 | 3));
    assert_eq!(found[4].f32(), Some(1.5));
    let results = &mut [Val::I32(0)];
    let func = found[5].unwrap_func_ref().unwrap();
    func.call(&mut store, &[], results).unwrap();
    assert_eq!(results[0].i32(), Some(5));
    let host = found[6].unwrap_extern_ref().unwrap();
    let data = host.data(&store).unwrap().unwrap();
    assert_eq!(data.downcast_ref(), Some(&7u8));
    assert_eq!(found[7].f64(), Some(-2.5));
    let number = found[8].unwrap_any_ref().unwrap();
    assert_eq!(number.unwrap_i31(&store).unwrap().get_i32(), -9);
    assert_eq!(found[9].i32(), Some(i32::MIN));
    assert!(object.matches_ty(&store, &ty).unwrap());
    assert_eq!(object.ty(&store).unwrap(), ty);
}

#[test]
fn arrays_are_made_read_and_written() {
    let mut store = store();
    let engine = store.engine().clone();
    let pre = ArrayRefPre::new(&mut store, array_type(&engine, StorageType::I16));
    let array = ArrayRef::new(&mut store, &pre, &Val::I32(0x12345), 5).unwrap();
    array.set(&mut store, 4, Val::I32(9)).unwrap();
    let values: Vec<_> = array.elems(&mut store).unwrap().map(|v| v.i32()).collect();
    assert_eq!(values, [0x2345, 0x2345, 0x2345, 0x2345, 9].map(Some));
    let fixed = ArrayRef::new_fixed(&mut store, &pre, &[Val::I32(1), Val::I32(2)]).unwrap();
    assert_eq!(fixed.len(&store).unwrap(), 2);
    assert_eq!(fixed.get(&mut store, 1).unwrap().i32(), Some(2));
    assert_says(
        &fixed.get(&mut store, 2).unwrap_err(),
        &["the array has 2 elements, none at 2"],
    );
    let empty = ArrayRef::new_fixed(&mut store, &pre, &[]).unwrap();
    assert_eq!(empty.elems(&mut store).unwrap().len(), 0);
}

#[test]
fn references_know_what_they_are_to() {
    let mut store = store();
    let engine = store.engine().clone();
    let pre = StructRefPre::new(&mut store, struct_type(&engine, &[]));
    let object = StructRef::new(&mut store, &pre, &[]).unwrap();
    let pre = ArrayRefPre::new(&mut store, array_type(&engine, StorageType::I8));
    let array = ArrayRef::new(&mut store, &pre, &Val::I32(0), 0).unwrap();
    let number = AnyRef::from_i31(&mut store, I31::wrapping_u32(3));
    let host = ExternRef::new(&mut store, ()).unwrap();
    let host = AnyRef::convert_extern(&mut store, host).unwrap();
    let kinds = |any: Rooted<AnyRef>| {
        [
            any.is_struct(&store).unwrap(),
            any.is_array(&store).unwrap(),
            any.is_i31(&store).unwrap(),
            any.is_eqref(&store).unwrap(),
        ]
    };
    assert_eq!(kinds(object.into()), [true, false, false, true]);
    assert_eq!(kinds(array.to_anyref()), [false, true, false, true]);
    assert_eq!(kinds(number), [false, false, true, true]);
    assert_eq!(kinds(host), [false; 4]);
    let eq: Rooted<EqRef> = array.into();
    assert!(eq.unwrap_array(&store).is_ok() && eq.unwrap_struct(&store).is_err());
    // As `externref` and back they are the same.
    for any in [object.to_anyref(), array.to_anyref(), number, host] {
        let outside = ExternRef::convert_any(&mut store, any).unwrap();
        let back = AnyRef::convert_extern(&mut store, outside).unwrap();
        assert!(Rooted::<AnyRef>::ref_eq(&store, &any, &back).unwrap());
        assert_eq!(
            any.to_raw(&mut store).unwrap(),
            outside.to_raw(&mut store).unwrap()
        );
        let is_host = outside.data(&store).unwrap().is_some();
        assert_eq!(
            is_host,
            Rooted::<AnyRef>::ref_eq(&store, &any, &host).unwrap()
        );
    }
    let object = object.to_anyref();
    assert!(!Rooted::ref_eq(&store, &object, &array.to_anyref()).unwrap());
}

#[test]
fn wrong_uses_are_errors_that_say_so() {
    let mut store = store();
    let engine = store.engine().clone();
    let constant = StructType::new(
        &engine,
        [FieldType::new(Mutability::Const, ValType::I32.into())],
    )
    .unwrap();
    let pre = StructRefPre::new(&mut store, constant);
    let object = StructRef::new(&mut store, &pre, &[Val::I32(1)]).unwrap();
    let mut other = Store::new(&engine, ());
    let foreign = StructRef::new(&mut other, &pre, &[Val::I32(1)]).unwrap();
    let other_engine = Engine::default();
    let other_type = struct_type(&other_engine, &[]);
    let other_pre = StructRefPre::new(&mut store, other_type);
    let array_pre = ArrayRefPre::new(&mut store, array_type(&engine, ValType::ANYREF.into()));
    let ended = {
        let mut scope = RootScope::new(&mut store);
        StructRef::new(&mut scope, &pre, &[Val::I32(1)]).unwrap()
    };
    let func = Func::wrap(&mut store, |_: Option<Rooted<ArrayRef>>| {});
    let mut call = |value: Val| func.call(&mut other, &[value], &mut []).map(drop);
    assert_says(&call(Val::null_any_ref()).unwrap_err(), &["wrong store"]);
    let call = |store: &mut Store<()>, value: Val| func.call(store, &[value], &mut []);
    let cases: Vec<(Error, &str)> = vec![
        (
            object.set_field(&mut store, 0, Val::I32(2)).unwrap_err(),
            "immutable",
        ),
        (
            object.field(&mut store, 1).unwrap_err(),
            "the struct has 1 fields, none at 1",
        ),
        (
            StructRef::new(&mut store, &pre, &[]).unwrap_err(),
            "the struct has 1 fields, 0 values were given",
        ),
        (
            StructRef::new(&mut store, &pre, &[Val::I64(1)]).unwrap_err(),
            "type mismatch: expected i32, found i64",
        ),
        (foreign.field(&mut store, 0).unwrap_err(), "wrong store"),
        (foreign.ty(&store).unwrap_err(), "wrong store"),
        (
            ended.field(&mut store, 0).unwrap_err(),
            "after the scope that rooted it ended",
        ),
        (
            StructRef::new(&mut store, &other_pre, &[]).unwrap_err(),
            "engine",
        ),
        (
            ArrayRef::new(&mut store, &array_pre, &foreign.into(), 1).unwrap_err(),
            "wrong store",
        ),
        (
            call(&mut store, object.into()).unwrap_err(),
            "type mismatch: expected arrayref",
        ),
        (
            call(&mut store, Val::null_extern_ref()).unwrap_err(),
            "type mismatch",
        ),
    ];
    for (error, message) in cases {
        assert_says(&error, &[message]);
    }
}

/// Makes, keeps and hands out pairs.
const PAIRS: &str = r#"(module
    (type $pair (struct (field $a (mut anyref)) (field $b (mut i32))))
    (import "host" "note" (func $note (param (ref $pair)) (result (ref null struct))))
    (global $kept (export "kept") (mut (ref null $pair)) (ref.null $pair))
    (table $t (export "table") 4 (ref null $pair))
    (func (export "make") (param i32) (result (ref $pair))
        (struct.new $pair (ref.null any) (local.get 0)))
    (func (export "get") (param (ref null $pair)) (result i32) (struct.get $pair $b (local.get 0)))
    (func (export "keep") (param (ref null struct)) (global.set $kept (ref.cast (ref null $pair) (local.get 0))))
    (func (export "note") (param i32) (result i32)
        (struct.get $pair $b (ref.cast (ref $pair)
            (call $note (struct.new $pair (ref.i31 (i32.const 1)) (local.get 0))))))
    (func (export "churn") (param i32)
        (loop $l
            (drop (struct.new_default $pair))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    )"#;

fn pairs() -> (Store<()>, Instance) {
    linked(PAIRS, |linker| {
        let note = |mut caller: Caller<'_, ()>, pair: Rooted<StructRef>| -> Result<_> {
            let value = pair.field(&mut caller, 1)?.unwrap_i32();
            pair.set_field(&mut caller, 1, Val::I32(value + 1))?;
            caller.gc(None)?;
            Ok(Some(pair))
        };
        let ty = |engine: &Engine| {
            let fields = [ValType::ANYREF.into(), ValType::I32.into()];
            struct_type(engine, &fields)
        };
        let engine = linker.engine().clone();
        let pair = ValType::Ref(RefType::new(false, HeapType::ConcreteStruct(ty(&engine))));
        let func = FuncType::new(&engine, [pair], [ValType::STRUCTREF]);
        linker
            .func_new("host", "note", func, move |caller, params, results| {
                let pair = params[0].unwrap_any_ref().unwrap();
                let pair = pair.unwrap_struct(&caller)?;
                results[0] = note(caller, pair)?.into();
                Ok(())
            })
            .unwrap();
    })
    .unwrap()
}

#[test]
fn typed_functions_take_and_give_objects() {
    let (mut store, instance) = pairs();
    let make = instance
        .get_typed_func::<i32, Rooted<StructRef>>(&mut store, "make")
        .unwrap();
    let keep = instance
        .get_typed_func::<Option<Rooted<StructRef>>, ()>(&mut store, "keep")
        .unwrap();
    let pair = make.call(&mut store, 42).unwrap();
    assert_eq!(pair.field(&mut store, 1).unwrap().i32(), Some(42));
    keep.call(&mut store, Some(pair)).unwrap();
    let kept = instance.get_global(&mut store, "kept").unwrap();
    let found = kept.get(&mut store);
    let found = found.unwrap_any_ref().unwrap();
    assert!(Rooted::<AnyRef>::ref_eq(&store, found, &pair.to_anyref()).unwrap());
    // What is no pair is refused by the guest, what is no struct before.
    let engine = store.engine().clone();
    let pre = StructRefPre::new(&mut store, struct_type(&engine, &[]));
    let other = StructRef::new(&mut store, &pre, &[]).unwrap();
    assert_eq!(
        trap(&keep.call(&mut store, Some(other)).unwrap_err()),
        Trap::CastFailure
    );
    let get = instance.get_func(&mut store, "get").unwrap();
    let error = get.call(&mut store, &[other.into()], &mut [Val::I32(0)]);
    assert_says(&error.unwrap_err(), &["type mismatch"]);
    let error = kept.set(&mut store, other.into()).unwrap_err();
    assert_says(&error, &["type mismatch"]);
    let table = instance.get_table(&mut store, "table").unwrap();
    assert!(table.set(&mut store, 0, other.to_anyref().into()).is_err());
    table.set(&mut store, 0, pair.to_anyref().into()).unwrap();
    let get = instance.get_typed_func::<Rooted<ArrayRef>, i32>(&mut store, "get");
    assert!(get.is_err());
}

#[test]
fn a_host_function_gets_and_changes_objects_while_it_collects() {
    let (mut store, instance) = pairs();
    let note = instance
        .get_typed_func::<i32, i32>(&mut store, "note")
        .unwrap();
    for value in 0..100 {
        assert_eq!(note.call(&mut store, value).unwrap(), value + 1);
    }
    assert!(store.gc_stats().collections >= 100);
}

#[test]
fn globals_tables_and_roots_keep_objects_and_nothing_else_does() {
    let (mut store, instance) = pairs();
    let count = Arc::new(AtomicUsize::new(0));
    let kept = instance.get_global(&mut store, "kept").unwrap();
    let table = instance.get_table(&mut store, "table").unwrap();
    let engine = store.engine().clone();
    let fields = [ValType::ANYREF.into(), ValType::I32.into()];
    let pre = StructRefPre::new(&mut store, struct_type(&engine, &fields));
    // Each pair holds a host value, and a cycle leads through it back to the pair.
    let pair = |store: &mut StoreContextMut<'_, ()>| {
        let host = ExternRef::new(&mut *store, Counted::new(&count)).unwrap();
        let host = AnyRef::convert_extern(&mut *store, host).unwrap();
        let inner = StructRef::new(&mut *store, &pre, &[host.into(), Val::I32(1)]).unwrap();
        let outer = StructRef::new(&mut *store, &pre, &[inner.into(), Val::I32(2)]).unwrap();
        let back = StructRef::new(&mut *store, &pre, &[outer.into(), Val::I32(3)]).unwrap();
        outer.set_field(&mut *store, 0, back.into()).unwrap();
        back.set_field(&mut *store, 0, inner.into()).unwrap();
        outer
    };
    let owned = {
        let mut scope = RootScope::new(&mut store);
        let mut store = scope.as_context_mut();
        for _ in 0..10 {
            pair(&mut store);
        }
        let value = pair(&mut store);
        kept.set(&mut store, value.into()).unwrap();
        let value = pair(&mut store);
        table.set(&mut store, 2, value.to_anyref().into()).unwrap();
        let value = pair(&mut store);
        value.to_owned_rooted(&mut store).unwrap()
    };
    assert_eq!(count.load(Relaxed), 13);
    store.gc(None).unwrap();
    assert_eq!(count.load(Relaxed), 3);
    let rooted = owned.to_rooted(&mut store);
    assert_eq!(rooted.field(&mut store, 1).unwrap().i32(), Some(2));
    drop(owned);
    let scope = RootScope::new(&mut store);
    drop(scope);
    table
        .set(&mut store, 2, Val::null_any_ref().ref_().unwrap())
        .unwrap();
    store.gc(None).unwrap();
    assert_eq!(count.load(Relaxed), 2, "the root and the global");
    kept.set(&mut store, Val::null_any_ref()).unwrap();
    store.gc(None).unwrap();
    assert_eq!(count.load(Relaxed), 1);
    drop(store);
    assert_eq!(count.load(Relaxed), 0);
}

#[test]
fn garbage_is_collected_as_often_as_it_takes_and_the_heap_stays_small() {
    let (mut store, instance) = pairs();
    let churn = instance
        .get_typed_func::<i32, ()>(&mut store, "churn")
        .unwrap();
    churn.call(&mut store, 2_000_000).unwrap();
    let stats = store.gc_stats();
    assert!(stats.collections >= 10, "{stats:?}");
    assert!(stats.heap_bytes <= 2 << 20, "{stats:?}");
    assert!(stats.longest_pause <= stats.total_pause);
}

#[test]
fn objects_are_made_once_where_constant_expressions_make_them() {
    let (mut store, instance) = instance(
        r#"(module
            (type $point (struct (field i32) (field i64)))
            (type $list (array (ref null $point)))
            (global $one (ref $point) (struct.new $point (i32.const 1) (i64.const 2)))
            (global $all (export "all") (ref $list)
                (array.new_fixed $list 3 (global.get $one) (struct.new_default $point) (ref.null $point)))
            (global $i31 (export "i31") anyref (ref.i31 (i32.const -3)))
            (global $bytes (ref $numbers) (array.new $numbers (i32.const 7) (i32.const 3)))
            (type $numbers (array i8))
            (table $t (export "table") 3 (ref $point) (struct.new $point (i32.const 5) (i64.const 6)))
            (elem $e (ref $point) (struct.new $point (i32.const 8) (i64.const 9)) (global.get $one))
            (func (export "segment") (param i32) (result i32)
                (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2))
                (table.init $t $e (i32.const 2) (i32.const 0) (i32.const 1))
                (ref.eq (table.get $t (i32.const 0)) (table.get $t (i32.const 2))))
            (func (export "get") (param i32) (result i32) (struct.get $point 0 (table.get $t (local.get 0))))
            (func (export "byte") (result i32) (array.get_u $numbers (global.get $bytes) (i32.const 2)))
            (func (export "drop") (elem.drop $e))
        )"#,
    );
    let all = instance
        .get_global(&mut store, "all")
        .unwrap()
        .get(&mut store);
    let all = all.unwrap_any_ref().unwrap().unwrap_array(&store).unwrap();
    let first = all.get(&mut store, 0).unwrap();
    let first = first
        .unwrap_any_ref()
        .unwrap()
        .unwrap_struct(&store)
        .unwrap();
    assert_eq!(first.field(&mut store, 1).unwrap().i64(), Some(2));
    let i31 = instance
        .get_global(&mut store, "i31")
        .unwrap()
        .get(&mut store);
    let i31 = i31.unwrap_any_ref().unwrap().unwrap_i31(&store).unwrap();
    assert_eq!(i31.get_i32(), -3);
    let mut call = |name: &str, param: i32| {
        let func = instance.get_func(&mut store, name).unwrap();
        let params = vec![Val::I32(param); func.ty(&store).params().len()];
        let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
        func.call(&mut store, &params, &mut results).unwrap();
        store.gc(None).unwrap();
        results.first().and_then(Val::i32)
    };
    assert_eq!(call("get", 1), Some(5));
    assert_eq!(call("segment", 0), Some(1));
    assert_eq!(call("get", 0), Some(8));
    assert_eq!(call("get", 1), Some(1));
    assert_eq!(call("byte", 0), Some(7));
    call("drop", 0);
    assert_eq!(call("get", 2), Some(8));
}

#[test]
fn a_pooled_slot_begins_with_objects_of_its_own_each_time() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (type $s (struct (field $v (mut i32))))
            (global $g (ref $s) (struct.new $s (i32.const 1)))
            (func (export "next") (result i32)
                (struct.set $s $v (global.get $g) (i32.add (i32.const 1) (struct.get $s $v (global.get $g))))
                (struct.get $s $v (global.get $g))))"#,
    )
    .unwrap();
    let pre = Linker::<()>::new(&engine).instantiate_pre(&module).unwrap();
    for _ in 0..50 {
        let mut store = Store::new(&engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        let next = instance
            .get_typed_func::<(), i32>(&mut store, "next")
            .unwrap();
        assert_eq!(next.call(&mut store, ()).unwrap(), 2);
        assert_eq!(next.call(&mut store, ()).unwrap(), 3);
    }
}

#[test]
fn types_are_the_same_in_other_modules_and_others_are_not() {
    let mut store = store();
    let engine = store.engine().clone();
    let producer = Module::new(
        &engine,
        r#"(module
            (rec (type $a (sub (struct (field i32)))) (type $b (sub $a (struct (field i32) (field (ref null $a))))))
            (func (export "a") (result anyref) (struct.new $a (i32.const 1)))
            (func (export "b") (result anyref) (struct.new $b (i32.const 2) (ref.null $a))))"#,
    )
    .unwrap();
    let consumer = Module::new(
        &engine,
        r#"(module
            (type (func))
            (rec (type $a (sub (struct (field i32)))) (type $b (sub $a (struct (field i32) (field (ref null $a))))))
            (type $alike (sub (struct (field i32))))
            (func (export "test") (param anyref) (result i32)
                (i32.or
                    (i32.or (ref.test (ref $a) (local.get 0)) (i32.shl (ref.test (ref $b) (local.get 0)) (i32.const 1)))
                    (i32.shl (ref.test (ref $alike) (local.get 0)) (i32.const 2)))))"#,
    )
    .unwrap();
    let producer = Instance::new(&mut store, &producer, &[]).unwrap();
    let consumer = Instance::new(&mut store, &consumer, &[]).unwrap();
    let test = consumer
        .get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "test")
        .unwrap();
    for (name, expected) in [("a", 1), ("b", 3)] {
        let make = producer
            .get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, name)
            .unwrap();
        let object = make.call(&mut store, ()).unwrap();
        assert_eq!(test.call(&mut store, object).unwrap(), expected, "{name}");
    }
    assert_eq!(test.call(&mut store, None).unwrap(), 0);
}

#[test]
fn subtypes_of_great_depth_are_told_apart() {
    let mut types = String::from("(type $t0 (sub (struct)))");
    for depth in 1..40 {
        types += &format!("(type $t{depth} (sub $t{} (struct)))", depth - 1);
    }
    let tests: String = (0..40)
        .map(|depth| format!(
            "(func (export \"make{depth}\") (result anyref) (struct.new $t{depth}))
             (func (export \"test{depth}\") (param anyref) (result i32) (ref.test (ref $t{depth}) (local.get 0)))"
        ))
        .collect();
    let (mut store, instance) = instance(&format!("(module {types} {tests})"));
    for made in [0, 5, 10, 11, 12, 39] {
        let make = instance
            .get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, &format!("make{made}"));
        let object = make.unwrap().call(&mut store, ()).unwrap();
        for tested in 0..40 {
            let test = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(
                &mut store,
                &format!("test{tested}"),
            );
            let is = test.unwrap().call(&mut store, object).unwrap();
            assert_eq!(is == 1, tested <= made, "{made} as {tested}");
        }
    }
}

/// The guests that allocate, with results that were computed by other programs.
const GUESTS: &[(&str, &str, i32, i64)] = &[
    (
        "binary_trees",
        include_str!("../../../../guests/gc/binary_trees.wat"),
        14,
        3_156_655,
    ),
    (
        "splay",
        include_str!("../../../../guests/gc/splay.wat"),
        3000,
        24_344_846_146_211_744,
    ),
    (
        "strings",
        include_str!("../../../../guests/gc/strings.wat"),
        500,
        57_269_526_532_095,
    ),
    (
        "graph",
        include_str!("../../../../guests/gc/graph.wat"),
        100,
        1_560_566_697_255,
    ),
];

#[test]
fn guests_that_allocate_compute_what_they_should() {
    let settings: [&[(&str, &str)]; 3] = [
        &[],
        &[("cranelift_opt_level", "none")],
        &[("consume_fuel", "true")],
    ];
    for settings in settings {
        let mut config = Config::new();
        for (name, value) in settings {
            config.set_knob(name, value).unwrap();
        }
        let engine = Engine::new(&config).unwrap();
        for (name, text, param, expected) in GUESTS {
            let module = Module::new(&engine, text).unwrap();
            let mut store = Store::new(&engine, ());
            if settings
                .first()
                .is_some_and(|(name, _)| *name == "consume_fuel")
            {
                store.set_fuel(u64::MAX).unwrap();
            }
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance
                .get_typed_func::<i32, i64>(&mut store, "run")
                .unwrap();
            assert_eq!(
                run.call(&mut store, *param).unwrap(),
                *expected,
                "{name} {settings:?}"
            );
            assert!(store.gc_stats().collections > 0, "{name} never collected");
        }
    }
}
