//! Structs and arrays of the garbage collected heap, made and read by the host.

use wasmtime::*;

const GUEST: &str = r#"
(module
  (rec
    (type $node (sub (struct
      (field $key i32)
      (field $weight (mut f64))
      (field $next (mut (ref null $node)))))))
  (type $bytes (array (mut i8)))
  (type $boxed (struct (field anyref)))

  (func (export "cons") (param $key i32) (param $weight f64) (param $next (ref null $node)) (result (ref $node))
    (struct.new $node (local.get $key) (local.get $weight) (local.get $next)))
  (func (export "sum") (param $at (ref null $node)) (result i32 f64)
    (local $keys i32) (local $weights f64)
    (block $done
      (loop $next
        (br_if $done (ref.is_null (local.get $at)))
        (local.set $keys (i32.add (local.get $keys) (struct.get $node $key (local.get $at))))
        (local.set $weights (f64.add (local.get $weights) (struct.get $node $weight (local.get $at))))
        (local.set $at (struct.get $node $next (local.get $at)))
        (br $next)))
    (local.get $keys) (local.get $weights))
  (func (export "checksum") (param $data (ref $bytes)) (result i32)
    (local $i i32) (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $data))))
        (local.set $sum (i32.add
          (i32.mul (local.get $sum) (i32.const 31))
          (array.get_u $bytes (local.get $data) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum))
  (func (export "classify") (param anyref) (result i32)
    (if (ref.test (ref i31) (local.get 0)) (then (return (i32.const 1))))
    (if (ref.test (ref struct) (local.get 0)) (then (return (i32.const 2))))
    (if (ref.test (ref array) (local.get 0)) (then (return (i32.const 3))))
    (ref.is_null (local.get 0)) (if (result i32) (then (i32.const 0)) (else (i32.const 4))))
  (func (export "box") (param anyref) (result anyref) (struct.new $boxed (local.get 0))))
"#;

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.wasm_gc(true).wasm_function_references(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;

    // A list that the guest makes and the host walks.
    let cons = instance.get_func(&mut store, "cons").unwrap();
    let node = cons.ty(&store).result(0).unwrap();
    let node = node
        .unwrap_ref()
        .heap_type()
        .unwrap_concrete_struct()
        .clone();
    println!(
        "a node has {} fields, the second {}",
        node.fields().len(),
        node.field(1).unwrap().mutability().is_var()
    );
    let mut list = Val::null_ref(&HeapType::None);
    for (key, weight) in [(1, 0.5), (2, 0.25), (3, 0.125)] {
        let mut result = [Val::null_any_ref()];
        cons.call(
            &mut store,
            &[Val::I32(key), Val::from(weight), list],
            &mut result,
        )?;
        list = result[0];
    }
    let mut at = list.unwrap_anyref().copied();
    while let Some(object) = at {
        let object = object.unwrap_struct(&store)?;
        let key = object.field(&mut store, 0)?.unwrap_i32();
        let weight = object.field(&mut store, 1)?.unwrap_f64();
        println!("{key}: {weight}");
        object.set_field(&mut store, 1, Val::from(weight * 2.0))?;
        at = object.field(&mut store, 2)?.unwrap_anyref().copied();
    }

    // One more at the front, made by the host.
    let pre = StructRefPre::new(&mut store, node.clone());
    let head = StructRef::new(&mut store, &pre, &[Val::I32(10), Val::from(100.0), list])?;
    println!("matches: {}", head.matches_ty(&store, &node)?);
    println!(
        "constant: {}",
        head.set_field(&mut store, 0, Val::I32(0)).is_err()
    );
    println!(
        "wrong type: {}",
        StructRef::new(&mut store, &pre, &[Val::I32(10)]).is_err()
    );
    let sum = instance.get_func(&mut store, "sum").unwrap();
    let mut sums = [Val::I32(0), Val::F64(0)];
    sum.call(&mut store, &[head.into()], &mut sums)?;
    println!("{} {}", sums[0].unwrap_i32(), sums[1].unwrap_f64());

    // Arrays of bytes.
    let checksum = instance.get_func(&mut store, "checksum").unwrap();
    let bytes = checksum.ty(&store).param(0).unwrap();
    let bytes = bytes
        .unwrap_ref()
        .heap_type()
        .unwrap_concrete_array()
        .clone();
    println!("elements: {}", bytes.element_type());
    let pre = ArrayRefPre::new(&mut store, bytes);
    let text: Vec<Val> = b"collector".iter().map(|&b| Val::I32(b.into())).collect();
    let array = ArrayRef::new_fixed(&mut store, &pre, &text)?;
    let mut result = [Val::I32(0)];
    checksum.call(&mut store, &[array.into()], &mut result)?;
    println!("{:x}", result[0].unwrap_i32());
    array.set(&mut store, 0, Val::I32(b'C'.into()))?;
    let back: Vec<u8> = array
        .elems(&mut store)?
        .map(|v| v.unwrap_i32() as u8)
        .collect();
    println!(
        "{} of {}",
        String::from_utf8_lossy(&back),
        array.len(&store)?
    );
    println!("beyond: {}", array.get(&mut store, 9).is_err());
    let zeros = ArrayRef::new(&mut store, &pre, &Val::I32(0), 1000)?;
    println!("{}", zeros.elems(&mut store)?.all(|v| v.unwrap_i32() == 0));

    // What an `anyref` is.
    let classify =
        instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "classify")?;
    let number = AnyRef::from_i31(&mut store, I31::wrapping_i32(-7));
    println!("{:?}", number.as_i31(&store)?.map(|n| n.get_i32()));
    let host = ExternRef::new(&mut store, "a value of the host's")?;
    let host = AnyRef::convert_extern(&mut store, host)?;
    for object in [
        None,
        Some(number),
        Some(head.to_anyref()),
        Some(array.to_anyref()),
        Some(host),
    ] {
        print!("{} ", classify.call(&mut store, object)?);
    }
    println!();
    let wrap = instance
        .get_typed_func::<Option<Rooted<AnyRef>>, Option<Rooted<AnyRef>>>(&mut store, "box")?;
    let boxed = wrap
        .call(&mut store, Some(number))?
        .unwrap()
        .unwrap_struct(&store)?;
    println!(
        "{}",
        boxed
            .field(&mut store, 0)?
            .unwrap_anyref()
            .unwrap()
            .is_i31(&store)?
    );

    // Garbage goes, what is held stays.
    for i in 0..10_000 {
        let mut scope = RootScope::new(&mut store);
        wrap.call(&mut scope, None)?;
        if i % 1000 == 0 {
            scope.as_context_mut().gc(None)?;
        }
    }
    sum.call(&mut store, &[head.into()], &mut sums)?;
    println!("{} {}", sums[0].unwrap_i32(), sums[1].unwrap_f64());
    Ok(())
}
