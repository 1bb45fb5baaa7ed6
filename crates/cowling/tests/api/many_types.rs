//! Modules with as many types as modules may have, and as deep and as intertwined ones.

use cowling::*;

/// As many types as a module may declare.
const MOST: u32 = 1_000_000;

fn leb(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A module of nothing but these groups of types, each given as its types' encodings.
fn module(count: u32, group: impl Fn(u32, &mut Vec<u8>)) -> Vec<u8> {
    let mut section = Vec::new();
    leb(&mut section, count);
    (0..count).for_each(|index| group(index, &mut section));
    let mut wasm = b"\0asm\x01\0\0\0\x01".to_vec();
    leb(&mut wasm, section.len() as u32);
    wasm.extend(section);
    wasm
}

const FUNC: u8 = 0x60;
const STRUCT: u8 = 0x5f;
const SUB: u8 = 0x50;
const REC: u8 = 0x4e;
const REF_NULL: u8 = 0x63;

/// An index of a type, as a heap type.
fn heap_index(out: &mut Vec<u8>, index: u32) {
    // Signed: one bit more.
    if index & 0x40 != 0 && index < 0x80 {
        out.extend([index as u8 | 0x80, 0]);
        return;
    }
    let start = out.len();
    leb(out, index);
    if out[out.len() - 1] & 0x40 != 0 {
        let last = out.len() - 1;
        out[last] |= 0x80;
        out.push(0);
    }
    debug_assert!(out.len() > start);
}

#[test]
fn a_million_equal_or_alike_types_are_handled() {
    let engine = Engine::default();
    let equal = module(MOST, |_, out| out.extend([FUNC, 0, 0]));
    Module::new(&engine, &equal).unwrap();
    // Each refers to the one before, so they are all different, and all are called alike.
    let chain = module(MOST, |index, out| {
        out.extend([FUNC, 1]);
        match index {
            0 => out.push(0x7f),
            _ => {
                out.push(REF_NULL);
                heap_index(out, index - 1);
            }
        }
        out.push(0);
    });
    match Module::new(&engine, &chain) {
        Ok(module) => drop(module),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn a_million_types_that_are_called_differently_are_refused() {
    let engine = Engine::default();
    let different = module(MOST, |index, out| {
        out.extend([FUNC, 10]);
        (0..10).for_each(|digit| out.push(0x7f - (index >> (2 * digit) & 3) as u8));
        out.push(0);
    });
    let error = Module::new(&engine, &different).map(drop).unwrap_err();
    let error = error.downcast_ref::<CompileError>();
    assert!(
        matches!(error, Some(CompileError::TooLarge { .. })),
        "{error:?}"
    );
}

#[test]
fn a_large_recursion_group_is_one_type_wherever_it_is_declared() {
    let engine = Engine::default();
    let count = 100_000;
    let group = module(1, |_, out| {
        out.push(REC);
        leb(out, count);
        for index in 0..count {
            out.extend([STRUCT, 1, REF_NULL]);
            heap_index(out, (index * 7919 + 1) % count);
            out.push(0);
        }
    });
    for _ in 0..3 {
        Module::new(&engine, &group).unwrap();
    }
}

#[test]
fn chains_of_subtypes_are_as_deep_as_the_standard_says() {
    let engine = Engine::default();
    let chain = |depth: u32| {
        module(depth + 1, |index, out| {
            match index {
                0 => out.extend([SUB, 0]),
                _ => {
                    out.extend([SUB, 1]);
                    leb(out, index - 1);
                }
            }
            out.extend([STRUCT, 0]);
        })
    };
    Module::new(&engine, chain(63)).unwrap();
    let error = Module::new(&engine, chain(64)).map(drop).unwrap_err();
    assert!(format!("{error:#}").contains("depth"), "{error:#}");
}

#[test]
fn types_of_one_engine_are_the_same_types_in_another() {
    let (here, there) = (Engine::default(), Engine::default());
    // So that numbers differ.
    let _other = FuncType::new(&there, [ValType::I64], []);
    let inner = FuncType::new(&here, [ValType::I32], []);
    let reference = ValType::Ref(RefType::new(true, HeapType::ConcreteFunc(inner.clone())));
    let ty = FuncType::new(&here, [reference.clone()], [reference]);
    let mut store = Store::new(&there, ());
    let func = Func::new(&mut store, ty.clone(), |_, arguments, results| {
        results.copy_from_slice(arguments);
        Ok(())
    });
    let found = func.ty(&store);
    assert!(!found.matches(&ty) && found != ty);
    let inner_there = FuncType::new(&there, [ValType::I32], []);
    let fits = Func::new(&mut store, inner_there.clone(), |_, _, _| Ok(()));
    let other = Func::wrap(&mut store, |_: i64| {});
    let mut results = [Val::null_func_ref()];
    func.call(&mut store, &[fits.into()], &mut results).unwrap();
    let heap_type = results[0].ref_().unwrap().ty(&store).unwrap();
    assert_eq!(heap_type.heap_type(), &HeapType::ConcreteFunc(inner_there));
    let error = func.call(&mut store, &[other.into()], &mut results);
    assert!(error.unwrap_err().to_string().contains("argument 0"));
}
