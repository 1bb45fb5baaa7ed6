//! Structs and arrays that the host makes, reads and changes, together with a guest.
//!
//! ```sh
//! cargo run --example gc_objects
//! ```

use cowling::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Engine, FieldType, I31, Instance, Module, Mutability,
    Result, RootScope, Rooted, StorageType, Store, StructRef, StructRefPre, StructType, Val,
    ValType,
};

// ANCHOR: guest
/// Counts the nodes of a tree and adds up an array of bytes.
const GUEST: &str = r#"(module
    (rec (type $node (struct (field $value i32) (field $left (ref null $node)) (field $right (ref null $node)))))
    (type $point (struct (field $x (mut f64)) (field $y (mut f64))))
    (type $bytes (array (mut i8)))
    (func (export "tree") (param $depth i32) (result (ref $node))
        (local $below i32)
        (local.set $below (i32.sub (local.get $depth) (i32.const 1)))
        (if (result (ref $node)) (i32.eqz (local.get $depth))
            (then (struct.new $node (i32.const 0) (ref.null $node) (ref.null $node)))
            (else (struct.new $node
                (local.get $depth) (call 0 (local.get $below)) (call 0 (local.get $below))))))
    (func (export "double") (param $p (ref $point))
        (struct.set $point $x (local.get $p) (f64.mul (f64.const 2) (struct.get $point $x (local.get $p))))
        (struct.set $point $y (local.get $p) (f64.mul (f64.const 2) (struct.get $point $y (local.get $p)))))
    (func (export "sum") (param $a (ref $bytes)) (result i32)
        (local $i i32) (local $sum i32)
        (loop $next
            (if (i32.lt_u (local.get $i) (array.len (local.get $a))) (then
                (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $a) (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next))))
        (local.get $sum))
    (func (export "kind") (param anyref) (result i32)
        (if (ref.test (ref i31) (local.get 0)) (then (return (i32.const 1))))
        (if (ref.test (ref $point) (local.get 0)) (then (return (i32.const 2))))
        (if (ref.test (ref $bytes) (local.get 0)) (then (return (i32.const 3))))
        (i32.const 0))
    (func (export "litter") (param $n i32)
        (loop $next
            (drop (struct.new $point (f64.const 0) (f64.const 0)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;

    // ANCHOR: read
    let tree = instance.get_typed_func::<i32, Rooted<StructRef>>(&mut store, "tree")?;
    let root = tree.call(&mut store, 3)?;
    println!(
        "a tree of {} nodes: {}",
        count(&mut store, root)?,
        root.ty(&store)?
    );
    // ANCHOR_END: read

    // ANCHOR: struct
    let f64_field = || FieldType::new(Mutability::Var, StorageType::ValType(ValType::F64));
    let point_type = StructType::new(&engine, [f64_field(), f64_field()])?;
    let point_pre = StructRefPre::new(&mut store, point_type);
    let point = StructRef::new(&mut store, &point_pre, &[Val::from(1.5), Val::from(-2.0)])?;
    let double = instance.get_typed_func::<Rooted<StructRef>, ()>(&mut store, "double")?;
    double.call(&mut store, point)?;
    let (x, y) = (point.field(&mut store, 0)?, point.field(&mut store, 1)?);
    println!("doubled: ({}, {})", x.unwrap_f64(), y.unwrap_f64());
    // ANCHOR_END: struct

    // ANCHOR: array
    let bytes_type = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
    let bytes_pre = ArrayRefPre::new(&mut store, bytes_type);
    let bytes = ArrayRef::new(&mut store, &bytes_pre, &Val::I32(7), 100)?;
    bytes.set(&mut store, 0, Val::I32(255))?;
    let sum = instance.get_typed_func::<Rooted<ArrayRef>, i32>(&mut store, "sum")?;
    println!(
        "{} bytes, in all {}",
        bytes.len(&store)?,
        sum.call(&mut store, bytes)?
    );
    println!("one too far: {:#}", bytes.get(&mut store, 100).unwrap_err());
    // ANCHOR_END: array

    // ANCHOR: any
    let kind = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "kind")?;
    let number = AnyRef::from_i31(&mut store, I31::wrapping_i32(5));
    for (name, value) in [
        ("null", None),
        ("a small number", Some(number)),
        ("a point", Some(point.to_anyref())),
        ("bytes", Some(bytes.to_anyref())),
    ] {
        println!("{name} is of kind {}", kind.call(&mut store, value)?);
    }
    // ANCHOR_END: any

    // ANCHOR: collect
    let litter = instance.get_typed_func::<i32, ()>(&mut store, "litter")?;
    litter.call(&mut store, 1_000_000)?;
    store.gc(None)?;
    let stats = store.gc_stats();
    println!(
        "after a million points less than 10 kB are alive: {}",
        stats.live_bytes < 10_000
    );
    println!("more than one collection: {}", stats.collections > 1);
    // ANCHOR_END: collect

    // ANCHOR: scope
    let late = {
        let mut scope = RootScope::new(&mut store);
        StructRef::new(&mut scope, &point_pre, &[Val::from(0.0), Val::from(0.0)])?
    };
    println!(
        "after its scope: {:#}",
        late.field(&mut store, 0).unwrap_err()
    );
    // ANCHOR_END: scope
    Ok(())
}

// ANCHOR: count
/// The nodes of a tree. A scope lets go of the references that were needed for that.
fn count(store: &mut Store<()>, root: Rooted<StructRef>) -> Result<usize> {
    let mut scope = RootScope::new(store);
    let mut waiting = vec![root];
    let mut count = 0;
    while let Some(node) = waiting.pop() {
        count += 1;
        for index in [1, 2] {
            let child = node.field(&mut scope, index)?;
            if let Some(child) = child.unwrap_any_ref() {
                waiting.push(child.unwrap_struct(&scope)?);
            }
        }
    }
    Ok(count)
}
// ANCHOR_END: count
