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

#[test]
fn a_modules_machine_code_can_be_looked_at() {
    let wat = r#"(module (import "" "" (func)) (func $one (result i32) (i32.const 1))
        (func (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1))) (func $three))"#;
    let module = Module::new(&Engine::default(), wat).unwrap();
    let functions: Vec<_> = module.functions().collect();
    assert_eq!(module.functions().len(), 3);
    let names: Vec<_> = functions.iter().map(|f| f.name.as_deref()).collect();
    assert_eq!(names, [Some("one"), None, Some("three")]);
    let mut end = 0;
    for (function, index) in functions.iter().zip(1..) {
        assert_eq!(function.index.as_u32(), index);
        assert!(function.offset >= end && function.len > 0);
        end = function.offset + function.len;
    }
    assert!(end <= module.text().len());
    let image = module.image_range();
    let text = module.text().as_ptr_range();
    assert!(image.start <= text.start && text.end <= image.end);
    assert_eq!(
        image.end.addr() - image.start.addr(),
        module.serialize().unwrap().len()
    );

    // The division, which may trap, comes from somewhere in the second body.
    let binary = wat::parse_str(wat).unwrap();
    let map: Vec<_> = module.address_map().unwrap().collect();
    assert!(map.is_sorted_by_key(|(offset, _)| *offset));
    let second = functions[1].offset..functions[1].offset + functions[1].len;
    let division = binary.iter().position(|byte| *byte == 0x6e).unwrap() as u32;
    let of_division = map
        .iter()
        .filter(|(_, position)| *position == Some(division));
    assert!(of_division.clone().count() > 0);
    assert!(
        of_division
            .clone()
            .all(|(offset, _)| second.contains(offset))
    );
    let mut config = Config::new();
    let engine = Engine::new(config.generate_address_map(false)).unwrap();
    assert!(Module::new(&engine, wat).unwrap().address_map().is_none());
    module.initialize_copy_on_write_image().unwrap();
}

#[test]
fn clones_are_the_same_module_and_others_are_not() {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module)").unwrap();
    assert!(Module::same(&module, &module.clone()));
    assert!(!Module::same(
        &module,
        &Module::new(&engine, "(module)").unwrap()
    ));
}

#[test]
fn a_builder_compiles_what_it_is_given_once() {
    let engine = Engine::default();
    let text = r#"(module $m (func (export "f")))"#;
    let binary = wat::parse_str(text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (text_file, binary_file) = (dir.path().join("m.wat"), dir.path().join("m.wasm"));
    std::fs::write(&text_file, text).unwrap();
    std::fs::write(&binary_file, &binary).unwrap();
    let expected = engine.precompile_module(&binary).unwrap();
    type Give<'a> = Box<dyn Fn(&mut CodeBuilder<'a>) -> Result<()> + 'a>;
    let ways: [Give<'_>; 6] = [
        Box::new(|b| b.wasm_binary(&binary, None).map(drop)),
        Box::new(|b| b.wasm_binary(binary.clone(), Some(&binary_file)).map(drop)),
        Box::new(|b| b.wasm_binary_or_text(text.as_bytes(), None).map(drop)),
        Box::new(|b| b.wasm_binary_or_text(&binary, None).map(drop)),
        Box::new(|b| b.wasm_binary_file(&binary_file).map(drop)),
        Box::new(|b| b.wasm_binary_or_text_file(&text_file).map(drop)),
    ];
    for give in ways {
        let mut builder = CodeBuilder::new(&engine);
        assert!(builder.hint().is_none());
        assert_says(&builder.compile_module().unwrap_err(), &["no module"]);
        assert_says(
            &builder.compile_module_serialized().unwrap_err(),
            &["no module"],
        );
        give(&mut builder).unwrap();
        assert_eq!(builder.hint(), Some(CodeHint::Module));
        assert_eq!(builder.compile_module().unwrap().name(), Some("m"));
        assert_eq!(builder.compile_module_serialized().unwrap(), expected);
        assert_says(&give(&mut builder).unwrap_err(), &["before"]);
    }
    let component = b"\0asm\x0d\0\x01\0";
    for (bytes, hint) in [
        (&component[..], Some(CodeHint::Component)),
        (b"\0asm\x01\0", None),
        (b"", None),
        (text.as_bytes(), None),
    ] {
        let mut builder = CodeBuilder::new(&engine);
        builder.wasm_binary(bytes, Some(&text_file)).unwrap();
        assert_eq!(builder.hint(), hint);
        assert_says(&builder.compile_module().unwrap_err(), &["m.wat"]);
    }
    let missing = dir.path().join("missing");
    for error in [
        CodeBuilder::new(&engine)
            .wasm_binary_file(&missing)
            .map(drop),
        CodeBuilder::new(&engine)
            .wasm_binary_or_text_file(&missing)
            .map(drop),
    ] {
        assert_says(&error.unwrap_err(), &["missing"]);
    }
    let error = CodeBuilder::new(&engine)
        .wasm_binary_or_text(b"(modul", Some(&text_file))
        .map(drop);
    assert_says(&error.unwrap_err(), &["m.wat"]);
}
