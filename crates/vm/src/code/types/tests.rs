use super::*;
use cowling_abi::{ArrayType, HeapType, StructType, TypeIndex};

fn registry() -> Arc<TypeRegistry> {
    TypeRegistry::new().unwrap()
}

fn func(params: &[ValType]) -> FuncType {
    FuncType {
        params: params.into(),
        results: [].into(),
    }
}

fn module(registry: &Arc<TypeRegistry>, types: &[usize]) -> ModuleTypes {
    let mut info = ModuleInfo::default();
    for &params in types {
        info.push_type(func(&vec![ValType::I32; params]));
    }
    ModuleTypes::intern(registry, &mut info).unwrap()
}

fn structure(fields: impl IntoIterator<Item = ValType>) -> CompositeType {
    let field = |ty| FieldType {
        storage: StorageType::Val(ty),
        mutable: false,
    };
    CompositeType::Struct(StructType {
        fields: fields.into_iter().map(field).collect(),
    })
}

fn reference(name: TypeRef) -> ValType {
    ValType::Ref(RefType {
        nullable: true,
        heap: HeapType::ConcreteStruct(name),
    })
}

fn open(supertype: Option<TypeRef>, composite: CompositeType) -> SubType {
    SubType {
        is_final: false,
        supertype,
        composite,
    }
}

/// A module with these recursion groups.
fn groups(
    registry: &Arc<TypeRegistry>,
    groups: impl IntoIterator<Item = Vec<SubType>>,
) -> Result<ModuleTypes, TypeError> {
    let mut info = ModuleInfo::default();
    for group in groups {
        info.types.extend(group);
        info.group_ends.push(info.types.next_key());
    }
    ModuleTypes::intern(registry, &mut info)
}

fn at(index: u32) -> TypeRef {
    TypeRef::Module(TypeIndex::from_u32(index))
}

#[test]
fn equal_types_have_equal_numbers_across_modules() {
    let registry = registry();
    let one = module(&registry, &[1, 2, 1]);
    let two = module(&registry, &[2]);
    assert_eq!(one.ids()[0], one.ids()[2]);
    assert_ne!(one.ids()[0], one.ids()[1]);
    assert_eq!(one.ids()[1], two.ids()[0]);
    let two_params = func(&[ValType::I32; 2]);
    assert_eq!(registry.intern(&two_params), two.ids()[0]);
    assert_eq!(registry.func_type(two.ids()[0]), Some(two_params));
}

#[test]
fn numbers_are_free_only_when_the_last_user_is_gone() {
    let registry = registry();
    let one_param = func(&[ValType::I32]);
    let one = module(&registry, &[1, 1, 2]);
    let two = module(&registry, &[1]);
    let (first, second) = (one.ids()[0], one.ids()[2]);
    drop(one);
    assert_eq!(registry.func_type(first), Some(one_param.clone()));
    assert_eq!(registry.func_type(second), None);
    let held = registry.get(first).unwrap();
    drop(two);
    assert_eq!(registry.func_type(first), Some(one_param.clone()));
    drop(held);
    assert_eq!(registry.func_type(first), None);
    // What was interned for good stays.
    let third = registry.intern(&one_param);
    drop(module(&registry, &[1]));
    assert_eq!(registry.func_type(third), Some(one_param));
}

#[test]
fn loading_and_dropping_modules_does_not_accumulate_types() {
    let registry = registry();
    for round in 0..1000 {
        drop(module(&registry, &[round, round + 1]));
    }
    let inner = registry.read();
    assert!(inner.owners.len() <= 3);
    assert!(inner.groups.is_empty());
}

#[test]
fn groups_are_equal_if_they_are_of_the_same_shape_in_the_same_order() {
    let registry = registry();
    // A list, by itself and in a group with a type that it does not need, before or behind it.
    let list = |own| open(None, structure([ValType::I32, reference(at(own))]));
    let other = || open(None, structure([ValType::I64]));
    let alone = groups(&registry, [vec![list(0)]]).unwrap();
    let again = groups(&registry, [vec![other()], vec![list(1)]]).unwrap();
    let before = groups(&registry, [vec![list(0), other()]]).unwrap();
    let behind = groups(&registry, [vec![other(), list(1)]]).unwrap();
    assert_eq!(alone.ids()[0], again.ids()[1]);
    let different = [alone.ids()[0], before.ids()[0], behind.ids()[1]];
    assert_eq!(HashSet::from(different).len(), 3);
    // A list of something else that looks like it.
    let to_alone = groups(&registry, [vec![list(0)], vec![list(0)]]).unwrap();
    assert_eq!(to_alone.ids()[0], alone.ids()[0]);
    assert_ne!(to_alone.ids()[1], alone.ids()[0]);
}

#[test]
fn a_chain_of_subtypes_is_ordered_however_deep_it_is() {
    let registry = registry();
    let deepest = MAX_SUBTYPING_DEPTH;
    let link = |depth: u32| {
        let supertype = depth.checked_sub(1).map(at);
        open(supertype, structure([]))
    };
    let chain = groups(&registry, (0..=deepest).map(|depth| vec![link(depth)])).unwrap();
    for (low, &below) in chain.ids().iter().enumerate() {
        for (high, &above) in chain.ids().iter().enumerate() {
            assert_eq!(
                registry.is_subtype(below, above),
                high <= low,
                "{low} {high}"
            );
        }
    }
    // A sibling branch from the middle is below what is above its root, and nothing else.
    let branch = groups(
        &registry,
        (0..=20)
            .map(|depth| vec![link(depth)])
            .chain([vec![open(Some(at(20)), structure([ValType::I32]))]]),
    );
    let branch = branch.unwrap();
    assert_eq!(branch.ids()[..=20], chain.ids()[..=20]);
    for (depth, &id) in chain.ids().iter().enumerate() {
        assert_eq!(registry.is_subtype(branch.ids()[21], id), depth <= 20);
        assert!(!registry.is_subtype(id, branch.ids()[21]));
    }
    let too_deep = groups(&registry, (0..=deepest + 1).map(|depth| vec![link(depth)]));
    assert_eq!(too_deep.unwrap_err(), TypeError::TooDeep);
}

#[test]
fn a_failed_module_leaves_nothing_behind() {
    let registry = registry();
    let unknown = open(Some(TypeRef::Engine(4711)), structure([]));
    let failed = groups(&registry, [vec![open(None, structure([]))], vec![unknown]]);
    assert!(matches!(failed.unwrap_err(), TypeError::Unknown(_)));
    assert!(registry.read().groups.is_empty());
    assert_eq!(registry.read().owners.len(), registry.read().free.len() + 1);
}

#[test]
fn a_type_must_match_its_supertype() {
    let registry = registry();
    let above = registry
        .register(open(None, structure([ValType::I32])))
        .unwrap();
    let name = Some(TypeRef::Engine(above.id()));
    let wider = registry.register(open(name, structure([ValType::I32, ValType::I64])));
    assert!(wider.unwrap().is_subtype(&above));
    let other = registry.register(open(name, structure([ValType::I64])));
    assert!(matches!(other.unwrap_err(), TypeError::Mismatch(..)));
    let array = CompositeType::Array(ArrayType {
        element: FieldType {
            storage: StorageType::I8,
            mutable: true,
        },
    });
    let other = registry.register(open(name, array));
    assert!(matches!(other.unwrap_err(), TypeError::Mismatch(..)));
    let last = registry.register(SubType {
        is_final: true,
        ..open(name, structure([ValType::I32]))
    });
    // Nobody has the final type any more.
    let gone = last.unwrap().id();
    let name = Some(TypeRef::Engine(gone));
    let below = registry.register(open(name, structure([ValType::I32])));
    assert!(matches!(below.unwrap_err(), TypeError::Unknown(_)));
    let last = registry.register(func(&[]).into()).unwrap();
    let below = SubType {
        supertype: Some(TypeRef::Engine(last.id())),
        ..func(&[]).into()
    };
    assert_eq!(
        registry.register(below).unwrap_err(),
        TypeError::FinalSupertype
    );
}

#[test]
fn a_type_is_the_same_in_another_engine() {
    let (here, there) = (registry(), registry());
    // Numbers differ between the two.
    let _other = there.register(func(&[ValType::I64]).into()).unwrap();
    let list = || open(None, structure([ValType::I32, reference(at(0))]));
    let of_list = || vec![open(None, structure([reference(at(0))])), list()];
    let module = groups(&here, [vec![list()], of_list()]).unwrap();
    let ours = here.get(module.ids()[1]).unwrap();
    drop(module);
    let theirs = ours.adopt(&there).unwrap();
    assert_ne!(ours, theirs);
    assert!(!theirs.is_subtype(&ours));
    let declared = groups(&there, [vec![list()], of_list()]).unwrap();
    assert_eq!(declared.ids()[1], theirs.id());
    assert_eq!(theirs.adopt(&here).unwrap(), ours);
}

#[test]
fn a_long_chain_of_groups_is_dropped_without_recursion() {
    let registry = registry();
    let count = 200_000;
    let link = |index: u32| {
        let next = index.checked_sub(1).map(|before| reference(at(before)));
        vec![open(None, structure(next))]
    };
    let chain = groups(&registry, (0..count).map(link)).unwrap();
    let last = registry.get(*chain.ids().last().unwrap()).unwrap();
    drop(chain);
    assert_eq!(registry.read().groups.len(), count as usize);
    let there = self::registry();
    assert!(there.read().groups.is_empty());
    let adopted = last.adopt(&there).unwrap();
    assert_eq!(there.read().groups.len(), count as usize);
    drop((last, adopted));
    assert!(registry.read().groups.is_empty() && there.read().groups.is_empty());
}

#[test]
fn threads_that_share_types_agree_on_their_numbers() {
    let registry = registry();
    let work = || {
        for round in 0..200 {
            let one = module(&registry, &[round % 3, round % 5]);
            let two = module(&registry, &[round % 5, round % 3]);
            assert_eq!(one.ids()[0], two.ids()[1]);
            assert_eq!(one.ids()[1], two.ids()[0]);
            let ty = registry.func_type(one.ids()[0]).unwrap();
            assert_eq!(ty.params.len(), round % 3);
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|_| _ = scope.spawn(work));
    });
    assert!(registry.read().groups.is_empty());
}
