//! What modules say about themselves, and instances about theirs.

use crate::support::{assert_says, instance};
use cowling::*;

#[test]
fn a_module_lists_its_imports_and_exports_with_their_types() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module $its_name
            (import "a" "f" (func (param i32 v128) (result externref)))
            (import "a" "m" (memory 1 2))
            (import "b" "t" (table 3 4 externref))
            (import "b" "g" (global (mut f64)))
            (import "" "" (func))
            (func (export "own") (result i64 f32) (i64.const 1) (f32.const 2))
            (table (export "table") 5 funcref)
            (global (export "global") i32 (i32.const 1))
            (export "again" (func 0))
            (export "memory" (memory 0)))"#,
    )
    .unwrap();
    assert_eq!(module.name(), Some("its_name"));
    let imports: Vec<_> = module
        .imports()
        .map(|i| format!("{:?} {:?} {}", i.module(), i.name(), i.ty()))
        .collect();
    assert_eq!(
        imports,
        [
            r#""a" "f" (func (param i32 v128) (result externref))"#,
            r#""a" "m" (memory 1 2)"#,
            r#""b" "t" (table 3 4 externref)"#,
            r#""b" "g" (global (mut f64))"#,
            r#""" "" (func)"#,
        ]
    );
    let exports: Vec<_> = module
        .exports()
        .map(|e| format!("{} {}", e.name(), e.ty()))
        .collect();
    assert_eq!(
        exports,
        [
            "own (func (result i64 f32))",
            "table (table 5 funcref)",
            "global (global i32)",
            "again (func (param i32 v128) (result externref))",
            "memory (memory 1 2)",
        ]
    );
    assert_eq!(
        module
            .get_export("global")
            .unwrap()
            .unwrap_global()
            .content(),
        &ValType::I32
    );
    assert!(module.get_export("nothing").is_none());
    let resources = module.resources_required();
    assert_eq!(
        (resources.num_memories, resources.max_initial_memory_size),
        (0, None)
    );
    assert_eq!(
        (resources.num_tables, resources.max_initial_table_size),
        (1, Some(5))
    );
    assert!(Engine::same(module.engine(), &engine));
}

#[test]
fn an_instance_gives_its_exports_by_order_by_name_and_by_handle() {
    let (mut store, instance) = instance(
        r#"(module (func (export "b") (result i32) (i32.const 1)) (memory (export "a") 1)
            (global (export "c") i32 (i32.const 3)) (export "d" (func 0)))"#,
    );
    let names: Vec<_> = instance
        .exports(&mut store)
        .map(|e| e.name().to_string())
        .collect();
    assert_eq!(names, ["b", "a", "c", "d"]);
    let types: Vec<_> = instance
        .exports(&mut store)
        .map(Export::into_extern)
        .collect();
    let types: Vec<_> = types.iter().map(|e| e.ty(&store).to_string()).collect();
    assert_eq!(
        types,
        [
            "(func (result i32))",
            "(memory 1)",
            "(global i32)",
            "(func (result i32))"
        ]
    );
    let module = instance.module(&store).clone();
    assert!(std::ptr::eq(
        instance.module(&store),
        instance.module(&store)
    ));
    let handle = module.get_export_index("c").unwrap();
    let global = instance
        .get_module_export(&mut store, &handle)
        .unwrap()
        .into_global()
        .unwrap();
    assert_eq!(global.get(&mut store).unwrap_i32(), 3);
    assert!(module.get_export_index("nothing").is_none());
    // The same module compiled again is another module.
    let twin = Module::new(
        store.engine(),
        r#"(module (global (export "c") i32 (i32.const 3)))"#,
    )
    .unwrap();
    let handle = twin.get_export_index("c").unwrap();
    assert!(instance.get_module_export(&mut store, &handle).is_none());
    // Asking twice gives the same function.
    assert_eq!(
        instance.get_func(&mut store, "b"),
        instance.get_func(&mut store, "d")
    );
    for wrong_kind in ["a", "c", "nothing"] {
        assert!(instance.get_func(&mut store, wrong_kind).is_none());
    }
    assert!(instance.get_memory(&mut store, "b").is_none());
    assert!(instance.get_table(&mut store, "b").is_none());
    assert!(instance.get_global(&mut store, "b").is_none());
}

#[test]
fn instances_of_one_module_share_nothing() {
    let mut store = Store::<()>::default();
    let module = Module::new(
        store.engine(),
        r#"(module (memory (export "m") 1) (data (i32.const 0) "x")
            (global $g (mut i32) (i32.const 0))
            (func (export "next") (result i32)
                (i32.store8 (i32.const 0) (i32.const 65))
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (global.get $g)))"#,
    )
    .unwrap();
    let [a, b] = [(); 2].map(|()| Instance::new(&mut store, &module, &[]).unwrap());
    let [next_a, next_b] = [a, b].map(|i| i.get_typed_func::<(), i32>(&mut store, "next").unwrap());
    assert_eq!(next_a.call(&mut store, ()).unwrap(), 1);
    assert_eq!(next_a.call(&mut store, ()).unwrap(), 2);
    let [memory_a, memory_b] = [a, b].map(|i| i.get_memory(&mut store, "m").unwrap());
    assert_eq!(
        (memory_a.data(&store)[0], memory_b.data(&store)[0]),
        (b'A', b'x')
    );
    assert_eq!(next_b.call(&mut store, ()).unwrap(), 1);
}

#[test]
fn code_lives_as_long_as_an_instance_needs_it() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let f = {
        let module = Module::new(
            &engine,
            r#"(module (func (export "f") (result i32) (i32.const 8)))"#,
        )
        .unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        instance.get_typed_func::<(), i32>(&mut store, "f").unwrap()
    };
    drop(engine);
    assert_eq!(f.call(&mut store, ()).unwrap(), 8);
}

#[test]
fn text_and_binary_and_files_are_the_same_module() {
    let engine = Engine::default();
    let text = r#"(module (func (export "f") (result i32) (i32.const 8)))"#;
    let binary = wat::parse_str(text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (text_file, binary_file) = (dir.path().join("m.wat"), dir.path().join("m.wasm"));
    std::fs::write(&text_file, text).unwrap();
    std::fs::write(&binary_file, &binary).unwrap();
    let modules = [
        Module::new(&engine, text).unwrap(),
        Module::new(&engine, &binary).unwrap(),
        Module::from_binary(&engine, &binary).unwrap(),
        Module::from_file(&engine, text_file).unwrap(),
        Module::from_file(&engine, binary_file).unwrap(),
    ];
    for module in modules {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), 8);
    }
    assert_says(
        &Module::from_binary(&engine, text.as_bytes()).unwrap_err(),
        &["magic"],
    );
}
