//! Objects, exceptions and what was prepared for one store, used with another. Handles are in `wrong_store`.

use super::{Misuse, are_refused, ready};
use cowling::*;

/// One of each in a store, and another store of the same engine with a few things of its own.
struct World {
    a: Store<()>,
    instance: Instance,
    func: Func,
    memory: Memory,
    table: Table,
    tag: Tag,
    host: Rooted<ExternRef>,
    object: Rooted<StructRef>,
    array: Rooted<ArrayRef>,
    exception: Rooted<ExnRef>,
    b: Store<()>,
    in_b: InB,
}

struct InB {
    refs: StructRefPre,
    arrays: ArrayRefPre,
    exceptions: ExnRefPre,
    object: Rooted<StructRef>,
    array: Rooted<ArrayRef>,
    tag: Tag,
}

fn any() -> FieldType {
    FieldType::new(Mutability::Var, StorageType::ValType(ValType::ANYREF))
}

fn in_store(store: &mut Store<()>) -> InB {
    let engine = store.engine().clone();
    let refs = StructRefPre::new(&mut *store, StructType::new(&engine, [any()]).unwrap());
    let arrays = ArrayRefPre::new(&mut *store, ArrayType::new(&engine, any()));
    let ty = ExnType::new(&engine, [ValType::ANYREF]).unwrap();
    let null = Val::null_any_ref();
    InB {
        object: StructRef::new(&mut *store, &refs, &[null]).unwrap(),
        array: ArrayRef::new(&mut *store, &arrays, &null, 3).unwrap(),
        tag: Tag::new(&mut *store, &ty.tag_type()).unwrap(),
        exceptions: ExnRefPre::new(&mut *store, ty),
        refs,
        arrays,
    }
}

fn world() -> World {
    let engine = Engine::default();
    let (mut a, mut b) = (Store::new(&engine, ()), Store::new(&engine, ()));
    let module = Module::new(
        &engine,
        r#"(module (func (export "f")) (memory (export "m") 1) (table (export "t") 1 funcref))"#,
    );
    let instance = Instance::new(&mut a, &module.unwrap(), &[]).unwrap();
    let in_a = in_store(&mut a);
    let null = Val::null_any_ref();
    World {
        func: instance.get_func(&mut a, "f").unwrap(),
        memory: instance.get_memory(&mut a, "m").unwrap(),
        table: instance.get_table(&mut a, "t").unwrap(),
        host: ExternRef::new(&mut a, 1_u8).unwrap(),
        exception: ExnRef::new(&mut a, &in_a.exceptions, &in_a.tag, &[null]).unwrap(),
        object: in_a.object,
        array: in_a.array,
        tag: in_a.tag,
        instance,
        in_b: in_store(&mut b),
        a,
        b,
    }
}

fn works(w: &mut World) {
    for store in [&mut w.a, &mut w.b] {
        let things = in_store(store);
        let object = Val::from(things.object);
        things.array.set(&mut *store, 2, object).unwrap();
        store.gc(None).unwrap();
        let found = things.array.get(&mut *store, 2).unwrap();
        assert!(
            Rooted::ref_eq(
                &*store,
                found.unwrap_anyref().unwrap(),
                &things.object.to_anyref()
            )
            .unwrap()
        );
        assert!(!store.has_pending_exception());
    }
    w.func.call(&mut w.a, &[], &mut []).unwrap();
    assert_eq!(w.memory.size(&w.a), 1);
}

const OTHER: &[&str] = &["wrong store"];

#[test]
fn objects_of_another_store_are_refused() {
    let misuses: &[Misuse<World>] = &[
        ("a struct's type", |w| w.object.ty(&w.b).map(drop), OTHER),
        (
            "a struct's type, asked for",
            |w| w.object.matches_ty(&w.b, &w.object.ty(&w.a)?).map(drop),
            OTHER,
        ),
        ("a field", |w| w.object.field(&mut w.b, 0).map(drop), OTHER),
        ("all fields", |w| w.object.fields(&mut w.b).map(drop), OTHER),
        (
            "a field, set",
            |w| w.object.set_field(&mut w.b, 0, Val::null_any_ref()),
            OTHER,
        ),
        (
            "a field, set to it",
            |w| w.in_b.object.set_field(&mut w.b, 0, w.object.into()),
            OTHER,
        ),
        (
            "a field, from the beginning",
            |w| StructRef::new(&mut w.b, &w.in_b.refs, &[w.object.into()]).map(drop),
            OTHER,
        ),
        ("an array's type", |w| w.array.ty(&w.b).map(drop), OTHER),
        ("an array's length", |w| w.array.len(&w.b).map(drop), OTHER),
        ("an element", |w| w.array.get(&mut w.b, 0).map(drop), OTHER),
        ("all elements", |w| w.array.elems(&mut w.b).map(drop), OTHER),
        (
            "an element, set",
            |w| w.array.set(&mut w.b, 0, Val::null_any_ref()),
            OTHER,
        ),
        (
            "an element, set to it",
            |w| w.in_b.array.set(&mut w.b, 0, w.object.into()),
            OTHER,
        ),
        (
            "every element, from the beginning",
            |w| ArrayRef::new(&mut w.b, &w.in_b.arrays, &w.object.into(), 2).map(drop),
            OTHER,
        ),
        (
            "an element, from the beginning",
            |w| {
                let elements = [Val::null_any_ref(), w.object.into()];
                ArrayRef::new_fixed(&mut w.b, &w.in_b.arrays, &elements).map(drop)
            },
            OTHER,
        ),
        (
            "an exception's tag",
            |w| w.exception.tag(&w.b).map(drop),
            OTHER,
        ),
        (
            "an exception's type",
            |w| w.exception.ty(&w.b).map(drop),
            OTHER,
        ),
        (
            "an exception's field",
            |w| w.exception.field(&mut w.b, 0).map(drop),
            OTHER,
        ),
        (
            "all fields of an exception",
            |w| w.exception.fields(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "an exception with its tag",
            |w| {
                let null = Val::null_any_ref();
                ExnRef::new(&mut w.b, &w.in_b.exceptions, &w.tag, &[null]).map(drop)
            },
            OTHER,
        ),
        (
            "an exception with it",
            |w| {
                ExnRef::new(
                    &mut w.b,
                    &w.in_b.exceptions,
                    &w.in_b.tag,
                    &[w.object.into()],
                )
                .map(drop)
            },
            OTHER,
        ),
        ("an exception, thrown", |w| w.b.throw(w.exception), OTHER),
        (
            "a host value, made an object",
            |w| AnyRef::convert_extern(&mut w.b, w.host).map(drop),
            OTHER,
        ),
        (
            "an object, made a host value",
            |w| ExternRef::convert_any(&mut w.b, w.object.to_anyref()).map(drop),
            OTHER,
        ),
        (
            "an object, compared",
            |w| Rooted::ref_eq(&w.b, &w.object, &w.in_b.object).map(drop),
            OTHER,
        ),
        (
            "an object, compared with one",
            |w| Rooted::ref_eq(&w.b, &w.in_b.object, &w.object).map(drop),
            OTHER,
        ),
        (
            "an object, to keep",
            |w| w.object.to_owned_rooted(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "an object as a value",
            |w| Val::from(w.object).ty(&w.b).map(drop),
            OTHER,
        ),
        (
            "an object as a global",
            |w| {
                let ty = GlobalType::new(ValType::ANYREF, Mutability::Var);
                Global::new(&mut w.b, ty, w.object.into()).map(drop)
            },
            OTHER,
        ),
    ];
    are_refused(world, works, misuses);
}

#[test]
fn what_is_prepared_for_another_store_is_refused() {
    let misuses: &[Misuse<World>] = &[
        (
            "a function, called asynchronously",
            |w| ready(w.func.call_async(&mut w.b, &[], &mut [])),
            OTHER,
        ),
        (
            "a typed function, called asynchronously",
            |w| {
                let typed = w.func.typed::<(), ()>(&w.a)?;
                ready(typed.call_async(&mut w.b, ()))
            },
            OTHER,
        ),
        (
            "a memory, grown asynchronously",
            |w| ready(w.memory.grow_async(&mut w.b, 1)).map(drop),
            OTHER,
        ),
        (
            "a table, grown asynchronously",
            |w| ready(w.table.grow_async(&mut w.b, 1, Ref::Func(None))).map(drop),
            OTHER,
        ),
        (
            "an instance, removed",
            |w| w.instance.remove(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "a function, removed",
            |w| w.func.remove(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "a memory, removed",
            |w| w.memory.remove(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "a table, removed",
            |w| w.table.remove(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "a tag, removed",
            |w| w.tag.remove(&mut w.b).map(drop),
            OTHER,
        ),
        (
            "a prepared instance that imports from it",
            |w| {
                let module = Module::new(w.a.engine(), r#"(module (import "m" "f" (func)))"#)?;
                let mut linker = Linker::new(w.a.engine());
                linker.define(&w.a, "m", "f", w.func)?;
                linker
                    .instantiate_pre(&module)?
                    .instantiate(&mut w.b)
                    .map(drop)
            },
            &["\"m\".\"f\"", "another store"],
        ),
        (
            "its default function",
            |w| {
                let mut linker = Linker::new(w.a.engine());
                linker.define(&w.a, "m", "", w.func)?;
                linker
                    .get_default(&mut w.b, "m")?
                    .call(&mut w.b, &[], &mut [])
            },
            OTHER,
        ),
        (
            "its name in a linker",
            |w| {
                Linker::new(w.b.engine())
                    .define_name(&w.b, "f", w.func)
                    .map(drop)
            },
            &["\"f\"", "wrong store"],
        ),
        (
            "its exports in a linker",
            |w| {
                Linker::new(w.b.engine())
                    .instance(&mut w.b, "m", w.instance)
                    .map(drop)
            },
            &["\"m\"", "wrong store"],
        ),
    ];
    are_refused(world, works, misuses);
}
