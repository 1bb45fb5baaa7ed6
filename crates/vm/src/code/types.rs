//! The types of an engine. Equal types have equal numbers, in whatever module they are declared, so comparing types is comparing
//! numbers, and whether one is below another is one look into its [row](rows).
//!
//! ```text
//!   recursion group, as declared     (rec (type $a (struct (ref $b))) (type $b (sub $s (struct (ref $a)))))
//!   canonical: how groups compare    [struct (ref rec.1)] [sub 17 (struct (ref rec.0))]           17: the number of $s
//!   as used                          [struct (ref 42)] [sub 17 (struct (ref 41))]                 41, 42: their numbers
//! ```
//!
//! Types are equal if their groups are, and their places in them. A group refers to itself by position and to everything else by
//! number, so equality of groups is equality of their canonical form.
//!
//! # Invariant
//!
//! A number belongs to one type as long as anybody has the type's group: a module that declares it, a [`RegisteredType`], or another
//! group that refers to it. A host that loads and drops modules of many types does not accumulate them.
//!
//! Groups are dropped outside of the registry's lock, which dropping one takes.

mod rows;
#[cfg(test)]
mod tests;

use cowling_abi::entity::EntityRef;
use cowling_abi::gc_layout::GcLayout;
use cowling_abi::layout::{DISPLAY_LEN, TypeRow};
use cowling_abi::{
    CompositeType, FieldType, FuncType, MAX_SUBTYPING_DEPTH, ModuleInfo, RefType, StorageType,
    SubType, TypeRef, ValType,
};
use rows::{MAX_TYPES, TypeRows};
use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::ptr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// A type cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// It names a type that does not exist, at least not any more.
    #[error("the type names another one that does not exist: {0}")]
    Unknown(String),
    /// There are too many already.
    #[error("there are {0} types already, no more are supported")]
    TooMany(usize),
    /// It is below too many others.
    #[error("the type has more than {MAX_SUBTYPING_DEPTH} types above it")]
    TooDeep,
    /// No type may be declared below its supertype.
    #[error("the supertype is final")]
    FinalSupertype,
    /// It is not what its supertype is.
    #[error("{0} does not match its supertype, which is {1}")]
    Mismatch(Box<CompositeType>, Box<CompositeType>),
}

/// The types of an engine.
pub struct TypeRegistry {
    rows: TypeRows,
    inner: RwLock<Inner>,
    embedder: OnceLock<Weak<dyn Any + Send + Sync>>,
}

#[derive(Default)]
struct Inner {
    /// By canonical form, with the number of the first type. One whose last user is just going counts as absent.
    groups: HashMap<Arc<[SubType]>, (u32, Weak<Group>)>,
    /// Whose each number is, and the position in its group.
    owners: Vec<Option<(Weak<Group>, u32)>>,
    /// Numbers that are nobody's.
    free: Vec<u32>,
    /// Types of host functions that do not keep their type themselves. These stay as long as the engine.
    host: HashMap<FuncType, (u32, Arc<Group>)>,
}

/// A recursion group, of at least one type.
struct Group {
    registry: Weak<TypeRegistry>,
    canonical: Arc<[SubType]>,
    /// The number of each of its types.
    ids: Box<[u32]>,
    /// Its types, naming all types by number. The canonical form itself if the group does not refer to itself.
    types: Arc<[SubType]>,
    /// Where the contents of their objects lie. Rows point here.
    layouts: Box<[Option<GcLayout>]>,
    /// Other groups that it refers to.
    dependencies: Vec<Arc<Group>>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(registry) = self.registry.upgrade() else {
            self.drop_dependencies();
            return;
        };
        let mut inner = registry.write();
        let known = inner.groups.get(&self.canonical);
        // An equal group may have taken its place already, with other numbers.
        if known.is_some_and(|(first, _)| *first == self.ids[0]) {
            inner.groups.remove(&self.canonical);
        }
        for &id in &self.ids {
            inner.owners[id as usize] = None;
            inner.free.push(id);
        }
        drop(inner);
        self.drop_dependencies();
    }
}

impl Group {
    /// Drops them one after the other rather than inside each other: chains of groups may be as long as modules are large.
    fn drop_dependencies(&mut self) {
        let mut pending = std::mem::take(&mut self.dependencies);
        while let Some(group) = pending.pop() {
            if let Some(mut group) = Arc::into_inner(group) {
                pending.append(&mut group.dependencies);
            }
        }
    }
}

impl Inner {
    fn owner(&self, id: u32) -> Option<(Arc<Group>, u32)> {
        let (group, position) = self.owners.get(id as usize)?.as_ref()?;
        Some((group.upgrade()?, *position))
    }

    fn new_id(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.owners.push(None);
            (self.owners.len() - 1) as u32
        })
    }

    /// How many types there may be besides those there are.
    fn room(&self) -> usize {
        MAX_TYPES - self.owners.len() + self.free.len()
    }
}

impl TypeRegistry {
    /// An empty registry.
    ///
    /// # Errors
    /// When there is no address space for it.
    pub fn new() -> io::Result<Arc<TypeRegistry>> {
        let inner = Inner {
            // Number 0 is nobody's.
            owners: vec![None],
            ..Inner::default()
        };
        Ok(Arc::new(TypeRegistry {
            rows: TypeRows::new()?,
            inner: RwLock::new(inner),
            embedder: OnceLock::new(),
        }))
    }

    /// Remembers, once, what the embedder's layer has its types belong to.
    pub fn set_embedder(&self, embedder: Weak<dyn Any + Send + Sync>) {
        self.embedder.get_or_init(|| embedder);
    }

    /// What the embedder's layer has its types belong to, if that was said and is still there.
    pub fn embedder(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.embedder.get()?.upgrade()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What compiled code and the collector read.
    pub(crate) fn rows(&self) -> &TypeRows {
        &self.rows
    }

    /// What kind of type has this number: one of those in [`TypeRow`]. Takes no lock.
    pub(crate) fn kind(&self, id: u32) -> u32 {
        self.rows.kind(id)
    }

    /// Is a type, by its number, the other or below it? Takes no lock.
    pub fn is_subtype(&self, below: u32, above: u32) -> bool {
        self.rows.is_subtype(below, above)
    }

    fn is_subtype_ref(&self, below: TypeRef, above: TypeRef) -> bool {
        match (below, above) {
            (TypeRef::Engine(below), TypeRef::Engine(above)) => self.is_subtype(below, above),
            _ => false,
        }
    }

    /// May a value of one type be used where the other is expected? Takes no lock.
    pub fn value_matches(&self, found: ValType, expected: ValType) -> bool {
        found.matches(expected, |a, b| self.is_subtype_ref(a, b))
    }

    /// May a reference of one type be used where the other is expected? Takes no lock.
    pub fn reference_matches(&self, found: RefType, expected: RefType) -> bool {
        found.matches(expected, |a, b| self.is_subtype_ref(a, b))
    }

    fn field_matches(&self, found: &FieldType, expected: &FieldType) -> bool {
        let covariant = match (found.storage, expected.storage) {
            (StorageType::Val(a), StorageType::Val(b)) => self.value_matches(a, b),
            (a, b) => a == b,
        };
        found.mutable == expected.mutable
            && covariant
            && (!found.mutable || found.storage == expected.storage)
    }

    /// Is the structure of one type such that it may be declared below the other?
    fn structure_matches(&self, found: &CompositeType, expected: &CompositeType) -> bool {
        match (found, expected) {
            (CompositeType::Func(a), CompositeType::Func(b)) => {
                let all = |found: &[ValType], expected: &[ValType]| {
                    found.len() == expected.len()
                        && (found.iter().zip(expected)).all(|(a, b)| self.value_matches(*a, *b))
                };
                all(&b.params, &a.params) && all(&a.results, &b.results)
            }
            (CompositeType::Struct(a), CompositeType::Struct(b)) => {
                let fields = || a.fields.iter().zip(&b.fields);
                a.fields.len() >= b.fields.len() && fields().all(|(a, b)| self.field_matches(a, b))
            }
            (CompositeType::Array(a), CompositeType::Array(b)) => {
                self.field_matches(&a.element, &b.element)
            }
            _ => false,
        }
    }

    /// The type with this number, if it is somebody's.
    pub fn get(self: &Arc<Self>, id: u32) -> Option<RegisteredType> {
        let (group, position) = self.read().owner(id)?;
        Some(RegisteredType {
            registry: self.clone(),
            group,
            position,
        })
    }

    /// The structure of a function type with this number, if it is somebody's.
    pub(crate) fn func_type(&self, id: u32) -> Option<FuncType> {
        let (group, position) = self.read().owner(id)?;
        group.types[position as usize].composite.as_func().cloned()
    }

    /// A type that is alone in its recursion group. It names other types by number.
    ///
    /// # Errors
    /// When it names one that does not exist, does not match its supertype, or there are too many types.
    pub fn register(self: &Arc<Self>, ty: SubType) -> Result<RegisteredType, TypeError> {
        if let Some(supertype) = ty.supertype {
            let unknown = || TypeError::Unknown(format!("{supertype:?}"));
            let TypeRef::Engine(id) = supertype else {
                return Err(unknown());
            };
            let supertype = self.get(id).ok_or_else(unknown)?;
            if supertype.ty().is_final {
                return Err(TypeError::FinalSupertype);
            }
            let above = &supertype.ty().composite;
            if !self.structure_matches(&ty.composite, above) {
                return Err(TypeError::Mismatch(
                    Box::new(ty.composite),
                    Box::new(above.clone()),
                ));
            }
        }
        // Dropped last, when the lock is free.
        let mut groups = Vec::new();
        let result = self.intern_group(&mut self.write(), vec![ty], &mut groups);
        result?;
        let group = groups.pop();
        Ok(RegisteredType {
            registry: self.clone(),
            group: group.unwrap_or_else(|| unreachable!("it was just interned")),
            position: 0,
        })
    }

    /// The number of a function type that names no defined types and is alone in its group, for as long as the registry exists.
    ///
    /// # Panics
    /// If it names defined types, or there are too many types.
    pub(crate) fn intern(self: &Arc<Self>, ty: &FuncType) -> u32 {
        if let Some((id, _)) = self.read().host.get(ty) {
            return *id;
        }
        let registered = self.register(ty.clone().into());
        let registered = registered.unwrap_or_else(|error| panic!("type {ty}: {error}"));
        let id = registered.id();
        let before = (self.write().host).insert(ty.clone(), (id, registered.group.clone()));
        drop(before);
        id
    }

    /// Finds or makes a group, given in canonical form, and adds it to `groups`. Whatever is dropped on the way goes there too: the
    /// lock is held.
    fn intern_group(
        self: &Arc<Self>,
        inner: &mut Inner,
        canonical: Vec<SubType>,
        groups: &mut Vec<Arc<Group>>,
    ) -> Result<(), TypeError> {
        let known = inner.groups.get(&canonical[..]);
        if let Some(known) = known.and_then(|(_, group)| group.upgrade()) {
            groups.push(known);
            return Ok(());
        }
        if inner.room() < canonical.len() {
            return Err(TypeError::TooMany(inner.owners.len() - inner.free.len()));
        }
        let dependencies = self.dependencies(inner, &canonical, groups)?;
        let mut depths: Vec<u32> = Vec::with_capacity(canonical.len());
        for ty in &canonical {
            let depth = match ty.supertype {
                None => 0,
                Some(TypeRef::Engine(id)) => self.rows.display(id).0 + 1,
                Some(TypeRef::Group(position)) => match depths.get(position as usize) {
                    Some(above) => above + 1,
                    None => {
                        groups.extend(dependencies);
                        return Err(TypeError::Unknown(format!("{position} of its own group")));
                    }
                },
                Some(TypeRef::Module(_)) => unreachable!("dependencies have been looked up"),
            };
            if depth > MAX_SUBTYPING_DEPTH {
                groups.extend(dependencies);
                return Err(TypeError::TooDeep);
            }
            depths.push(depth);
        }
        let ids: Box<[u32]> = canonical.iter().map(|_| inner.new_id()).collect();
        let canonical: Arc<[SubType]> = canonical.into();
        let refers_to_itself = (canonical.iter().flat_map(SubType::type_refs))
            .any(|name| matches!(name, TypeRef::Group(_)));
        let types = match refers_to_itself {
            false => canonical.clone(),
            true => {
                let mut types = canonical.to_vec();
                for ty in &mut types {
                    ty.rename(&mut |name| match name {
                        TypeRef::Group(position) => TypeRef::Engine(ids[position as usize]),
                        other => other,
                    });
                }
                types.into()
            }
        };
        let group = Arc::new(Group {
            registry: Arc::downgrade(self),
            canonical,
            layouts: types
                .iter()
                .map(|ty| GcLayout::new(&ty.composite))
                .collect(),
            ids,
            types,
            dependencies,
        });
        for (position, (&id, ty)) in group.ids.iter().zip(&*group.types).enumerate() {
            let layout = group.layouts[position].as_ref();
            self.rows
                .write(id, &self.row(id, ty, depths[position], layout));
            inner.owners[id as usize] = Some((Arc::downgrade(&group), position as u32));
        }
        let known = (group.ids[0], Arc::downgrade(&group));
        (inner.groups).insert(group.canonical.clone(), known);
        groups.push(group);
        Ok(())
    }

    /// The groups that a group in canonical form refers to.
    fn dependencies(
        &self,
        inner: &Inner,
        canonical: &[SubType],
        garbage: &mut Vec<Arc<Group>>,
    ) -> Result<Vec<Arc<Group>>, TypeError> {
        let mut seen = HashSet::new();
        let mut dependencies = Vec::new();
        for name in canonical.iter().flat_map(SubType::type_refs) {
            let known = match name {
                TypeRef::Group(position) if (position as usize) < canonical.len() => continue,
                TypeRef::Engine(id) if !seen.insert(id) => continue,
                TypeRef::Engine(id) => inner.owner(id),
                _ => None,
            };
            let Some((group, _)) = known else {
                garbage.append(&mut dependencies);
                return Err(TypeError::Unknown(format!("{name:?}")));
            };
            seen.extend(&group.ids);
            dependencies.push(group);
        }
        Ok(dependencies)
    }

    fn row(&self, id: u32, ty: &SubType, depth: u32, layout: Option<&GcLayout>) -> TypeRow {
        let mut display = [0; DISPLAY_LEN];
        let supertype = match ty.supertype {
            Some(TypeRef::Engine(above)) => {
                display = self.rows.display(above).1;
                above
            }
            _ => 0,
        };
        if let Some(own) = display.get_mut(depth as usize) {
            *own = id;
        }
        TypeRow {
            depth,
            kind: match ty.composite {
                CompositeType::Func(_) => TypeRow::FUNC,
                CompositeType::Struct(_) => TypeRow::STRUCT,
                CompositeType::Array(_) => TypeRow::ARRAY,
            },
            supertype,
            display,
            layout: layout.map_or(ptr::null(), ptr::from_ref),
        }
    }
}

impl fmt::Debug for TypeRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeRegistry").finish_non_exhaustive()
    }
}

/// A type of an engine, which has its number as long as this or a clone of it exists.
#[derive(Clone)]
pub struct RegisteredType {
    registry: Arc<TypeRegistry>,
    group: Arc<Group>,
    position: u32,
}

impl RegisteredType {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.group.ids[self.position as usize]
    }

    /// The type; it names others by number.
    pub fn ty(&self) -> &SubType {
        &self.group.types[self.position as usize]
    }

    /// The type it is declared a subtype of.
    pub fn supertype(&self) -> Option<RegisteredType> {
        match self.ty().supertype? {
            TypeRef::Engine(id) => self.registry.get(id),
            _ => None,
        }
    }

    /// The types it belongs to.
    pub fn registry(&self) -> &Arc<TypeRegistry> {
        &self.registry
    }

    /// Is it the other, or below it? Never if they are of different engines.
    pub fn is_subtype(&self, other: &RegisteredType) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
            && self.registry.is_subtype(self.id(), other.id())
    }

    /// The same type in another engine.
    ///
    /// # Errors
    /// When that one has too many types.
    pub fn adopt(&self, registry: &Arc<TypeRegistry>) -> Result<RegisteredType, TypeError> {
        if Arc::ptr_eq(&self.registry, registry) {
            return Ok(self.clone());
        }
        // Depth first without recursion: a group is interned when all it refers to have been. Numbers here -> numbers there.
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut there = Vec::new();
        let mut pending = vec![(self.group.clone(), false)];
        while let Some((group, ready)) = pending.pop() {
            if numbers.contains_key(&group.ids[0]) {
                continue;
            }
            if !ready {
                let below = group
                    .dependencies
                    .iter()
                    .map(|group| (group.clone(), false));
                let below: Vec<_> = below.collect();
                pending.push((group, true));
                pending.extend(below);
                continue;
            }
            let mut canonical = group.canonical.to_vec();
            for ty in &mut canonical {
                ty.rename(&mut |name| match name {
                    TypeRef::Engine(id) => TypeRef::Engine(numbers[&id]),
                    other => other,
                });
            }
            let interned = registry.intern_group(&mut registry.write(), canonical, &mut there);
            interned?;
            if let Some(new) = there.last() {
                numbers.extend(group.ids.iter().copied().zip(new.ids.iter().copied()));
            }
        }
        let group = there.pop();
        Ok(RegisteredType {
            registry: registry.clone(),
            group: group.unwrap_or_else(|| unreachable!("its own group comes last")),
            position: self.position,
        })
    }
}

impl fmt::Debug for RegisteredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegisteredType({}: {})", self.id(), self.ty().composite)
    }
}

impl PartialEq for RegisteredType {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() && Arc::ptr_eq(&self.registry, &other.registry)
    }
}

impl Eq for RegisteredType {}

impl Hash for RegisteredType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// The types of a module.
#[derive(Debug)]
pub(super) struct ModuleTypes {
    registry: Arc<TypeRegistry>,
    ids: Box<[u32]>,
    // Its only job is to keep the numbers.
    _groups: Vec<Arc<Group>>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.ids).finish()
    }
}

impl ModuleTypes {
    /// Numbers the types of a module that names them by position, and makes it name them by number.
    ///
    /// # Errors
    /// When there are too many types, or groups refer to what comes after them.
    pub(super) fn intern(
        registry: &Arc<TypeRegistry>,
        info: &mut ModuleInfo,
    ) -> Result<ModuleTypes, TypeError> {
        let mut ids: Vec<u32> = Vec::with_capacity(info.types.len());
        // Dropped last, when the lock is free.
        let mut groups = Vec::with_capacity(info.group_ends.len());
        {
            let mut inner = registry.write();
            // At once, or what is there already would be hashed again and again; groups may all be the same, though.
            inner.groups.reserve(info.group_ends.len().min(1 << 10));
            // Groups may be empty, and are nothing then.
            for range in info.groups().filter(|range| range.start < range.end) {
                let start = range.start.index();
                let mut canonical =
                    info.types.values().as_slice()[start..range.end.index()].to_vec();
                for ty in &mut canonical {
                    ty.rename(&mut |name| match name {
                        TypeRef::Module(index) if index >= range.start => {
                            TypeRef::Group((index.index() - start) as u32)
                        }
                        TypeRef::Module(index) => TypeRef::Engine(ids[index.index()]),
                        other => other,
                    });
                }
                registry.intern_group(&mut inner, canonical, &mut groups)?;
                if let Some(group) = groups.last() {
                    ids.extend(&group.ids);
                }
            }
        }
        info.rename_types(&mut |name| match name {
            TypeRef::Module(index) => TypeRef::Engine(ids[index.index()]),
            other => other,
        });
        Ok(ModuleTypes {
            registry: registry.clone(),
            ids: ids.into(),
            _groups: groups,
        })
    }

    /// The types of what the host makes: its module's types are these, and what else it names it names by number.
    ///
    /// # Errors
    /// When it names a type that does not exist.
    pub(super) fn of_host(
        registry: &Arc<TypeRegistry>,
        info: &mut ModuleInfo,
        types: &[RegisteredType],
    ) -> Result<ModuleTypes, TypeError> {
        let mut names = Vec::new();
        info.rename_types(&mut |name| {
            names.push(name);
            name
        });
        for ty in types {
            info.push_type(ty.ty().clone());
        }
        let mut groups: Vec<_> = types.iter().map(|ty| ty.group.clone()).collect();
        for name in names {
            let known = match name {
                TypeRef::Engine(id) => registry.get(id),
                _ => None,
            };
            let known = known.ok_or_else(|| TypeError::Unknown(format!("{name:?}")))?;
            groups.push(known.group);
        }
        Ok(ModuleTypes {
            registry: registry.clone(),
            ids: types.iter().map(RegisteredType::id).collect(),
            _groups: groups,
        })
    }

    /// By position in the type section.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Who numbered them.
    pub(super) fn registry(&self) -> &Arc<TypeRegistry> {
        &self.registry
    }
}
