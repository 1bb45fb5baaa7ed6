//! Prints what a module wants and has, as tools do, and asks which types match which.

use wasmtime::*;

const GUEST: &str = r#"
(module $sample
  (type $point (struct (field $x f32) (field $y (mut f32))))
  (type $callback (func (param (ref null $point)) (result i32)))
  (import "env" "callback" (func (type $callback)))
  (import "env" "base" (global i32))
  (import "env" "failed" (tag (param i32 externref)))
  (import "sys" "memory" (memory i64 1 16))
  (import "sys" "table" (table 5 funcref))
  (memory (export "shared") 1 4 shared)
  (table (export "handles") 2 8 externref)
  (global (export "counter") (mut i64) (i64.const 0))
  (func (export "f") (param i32 i64 f32 f64 v128) (result funcref externref)
    (ref.null func) (ref.null extern))
  (func (export "origin") (result (ref $point)) (struct.new_default $point))
  (tag (export "done") (param f64))
  (func (export "pass") (param anyref i31ref eqref structref arrayref nullref) (result anyref)
    (local.get 0)))
"#;

fn value(ty: &ValType) -> String {
    match ty {
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => ty.to_string(),
        ValType::Ref(reference) => {
            let heap = reference.heap_type();
            let name = if heap.is_concrete_struct() {
                format!("struct of {}", heap.unwrap_concrete_struct().fields().len())
            } else {
                heap.to_string()
            };
            format!(
                "ref {}{name}",
                if reference.is_nullable() { "null " } else { "" }
            )
        }
    }
}

fn values(types: impl Iterator<Item = ValType>) -> String {
    types.map(|ty| value(&ty)).collect::<Vec<_>>().join(", ")
}

fn show(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) => format!(
            "func ({}) -> ({})",
            values(ty.params()),
            values(ty.results())
        ),
        ExternType::Global(ty) => format!(
            "global {} {}",
            if ty.mutability().is_var() {
                "var"
            } else {
                "const"
            },
            value(ty.content())
        ),
        ExternType::Memory(ty) => format!(
            "memory {}..{:?}, 64 bits {}, shared {}, pages of {}",
            ty.minimum(),
            ty.maximum(),
            ty.is_64(),
            ty.is_shared(),
            ty.page_size()
        ),
        ExternType::Table(ty) => format!(
            "table {}..{:?} of {}",
            ty.minimum(),
            ty.maximum(),
            value(&ty.element().clone().into())
        ),
        ExternType::Tag(ty) => format!("tag ({})", values(ty.ty().params())),
    }
}

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config
        .wasm_gc(true)
        .wasm_function_references(true)
        .wasm_exceptions(true)
        .wasm_memory64(true)
        .wasm_multi_memory(true)
        .shared_memory(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    println!("{:?}", module.name());
    for import in module.imports() {
        println!(
            "import {}.{}: {}",
            import.module(),
            import.name(),
            show(&import.ty())
        );
    }
    for export in module.exports() {
        println!("export {}: {}", export.name(), show(&export.ty()));
    }
    println!(
        "{:?} {:?}",
        module.get_export("f").is_some(),
        module.get_export("g").is_some()
    );
    let needs = module.resources_required();
    println!(
        "{} memories, {} tables, {:?} elements",
        needs.num_memories, needs.num_tables, needs.max_initial_table_size
    );

    // Which values fit where.
    let point = module
        .get_export("origin")
        .unwrap()
        .unwrap_func()
        .result(0)
        .unwrap();
    let types = [
        ValType::I32,
        ValType::FUNCREF,
        ValType::EXTERNREF,
        ValType::ANYREF,
        ValType::EQREF,
        ValType::I31REF,
        ValType::STRUCTREF,
        ValType::ARRAYREF,
        ValType::NULLREF,
        ValType::NULLFUNCREF,
        RefType::new(false, HeapType::Func).into(),
        point.clone(),
    ];
    for a in &types {
        let row: String = types
            .iter()
            .map(|b| if a.matches(b) { '#' } else { '.' })
            .collect();
        println!("{row} {}", value(a));
    }
    println!(
        "top {} bottom {}",
        point.unwrap_ref().heap_type().top(),
        point.unwrap_ref().heap_type().bottom()
    );

    // Types made by the host are the same as the module's.
    let fields = [
        FieldType::new(Mutability::Const, ValType::F32.into()),
        FieldType::new(Mutability::Var, StorageType::ValType(ValType::F32)),
    ];
    let made = StructType::new(&engine, fields)?;
    println!(
        "equal: {}",
        StructType::eq(
            &made,
            point.unwrap_ref().heap_type().unwrap_concrete_struct()
        )
    );
    let function = FuncType::new(
        &engine,
        [RefType::new(true, HeapType::ConcreteStruct(made)).into()],
        [ValType::I32],
    );
    let import = module.imports().next().unwrap().ty();
    println!("matches: {}", function.matches(import.unwrap_func()));
    println!("eq: {}", FuncType::eq(&function, import.unwrap_func()));
    let open = FuncType::with_finality_and_supertype(
        &engine,
        Finality::NonFinal,
        None,
        [ValType::I32],
        [ValType::ANYREF],
    )?;
    let below = FuncType::with_finality_and_supertype(
        &engine,
        Finality::Final,
        Some(&open),
        [ValType::I32],
        [ValType::I31REF],
    )?;
    println!(
        "{} {} {:?}",
        below.matches(&open),
        open.matches(&below),
        below.supertype().is_some()
    );
    println!(
        "no subtype of a final type: {}",
        FuncType::with_finality_and_supertype(
            &engine,
            Finality::Final,
            Some(&below),
            [ValType::I32],
            [ValType::I31REF]
        )
        .is_err()
    );

    // Values know their types; types know their default values.
    let mut store = Store::new(&engine, ());
    for ty in [ValType::I64, ValType::F32, ValType::V128, point] {
        let default = Val::default_for_ty(&ty);
        let own = default
            .map(|v| v.ty(&store))
            .transpose()?
            .map(|ty| value(&ty));
        println!("{}: {:?}", value(&ty), own);
    }
    let table = TableType::new(RefType::EXTERNREF, 3, Some(4));
    let table = ExternType::Table(table)
        .default_value(&mut store)?
        .into_table()
        .unwrap();
    println!("table of {}", table.size(&store));
    println!(
        "{}",
        table
            .get(&mut store, 0)
            .unwrap()
            .matches_ty(&store, &RefType::EXTERNREF)?
    );
    let memory = MemoryTypeBuilder::default()
        .min(1)
        .max(Some(2))
        .memory64(true)
        .build()?;
    println!("{}", show(&ExternType::Memory(memory)));
    println!(
        "{}",
        MemoryTypeBuilder::new()
            .min(3)
            .max(Some(2))
            .build()
            .is_err()
    );
    println!("{}", MemoryTypeBuilder::new().shared(true).build().is_err());
    Ok(())
}
