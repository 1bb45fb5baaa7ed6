//! Engine-wide numbers of function types: equal types have equal numbers, so a type check is one comparison.

use cowling_abi::{FuncType, ModuleInfo};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Numbers function types. One for each engine.
///
/// A number is not given to another type as long as anybody who interned the type needs it: a module does until it is dropped, and
/// [`intern`](Self::intern) for the life of the registry. So a host that loads and drops modules of many types does not
/// accumulate them.
#[derive(Debug, Default)]
pub struct TypeRegistry {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    numbers: HashMap<Arc<FuncType>, u32>,
    /// By number.
    entries: Vec<Option<Entry>>,
    /// Numbers without an entry.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    ty: Arc<FuncType>,
    users: Users,
}

#[derive(Debug)]
enum Users {
    Modules(usize),
    Everlasting,
}

impl Inner {
    fn entry(&mut self, ty: &FuncType) -> (u32, &mut Entry) {
        let number = match self.numbers.get(ty) {
            Some(&number) => number,
            None => {
                let ty = Arc::new(ty.clone());
                let number = self.free.pop().unwrap_or_else(|| {
                    self.entries.push(None);
                    // 2^32 types alive at once take more memory than machines have.
                    (self.entries.len() - 1) as u32
                });
                self.numbers.insert(ty.clone(), number);
                self.entries[number as usize] = Some(Entry {
                    ty,
                    users: Users::Modules(0),
                });
                number
            }
        };
        match &mut self.entries[number as usize] {
            Some(entry) => (number, entry),
            None => unreachable!("every number in the map has an entry"),
        }
    }

    fn release(&mut self, number: u32) {
        let slot = &mut self.entries[number as usize];
        if let Some(entry) = slot
            && let Users::Modules(count) = &mut entry.users
        {
            *count -= 1;
            if *count == 0 {
                self.numbers.remove(&entry.ty);
                *slot = None;
                self.free.push(number);
            }
        }
    }
}

impl TypeRegistry {
    /// An empty registry.
    pub fn new() -> Arc<TypeRegistry> {
        Arc::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a type, for as long as the registry exists.
    pub fn intern(&self, ty: &FuncType) -> u32 {
        let (number, entry) = {
            let inner = self.read();
            let number = inner.numbers.get(ty).copied();
            let entry = number.and_then(|n| inner.entries[n as usize].as_ref());
            (
                number,
                entry.is_some_and(|e| matches!(e.users, Users::Everlasting)),
            )
        };
        if let (Some(number), true) = (number, entry) {
            return number;
        }
        let mut inner = self.write();
        let (number, entry) = inner.entry(ty);
        entry.users = Users::Everlasting;
        number
    }

    /// The type with this number, if it has been given out and is still in use.
    pub fn lookup(&self, number: u32) -> Option<FuncType> {
        let inner = self.read();
        let entry = inner.entries.get(number as usize)?.as_ref()?;
        Some(FuncType::clone(&entry.ty))
    }
}

/// The numbers of a module's types, given back on drop.
#[derive(Debug)]
pub(super) struct ModuleTypes {
    registry: Arc<TypeRegistry>,
    ids: Box<[u32]>,
}

impl ModuleTypes {
    /// Numbers the types of a module.
    pub(super) fn intern(registry: &Arc<TypeRegistry>, info: &ModuleInfo) -> ModuleTypes {
        let mut inner = registry.write();
        let ids = info.types.values().map(|ty| {
            let (number, entry) = inner.entry(ty);
            if let Users::Modules(count) = &mut entry.users {
                *count += 1;
            }
            number
        });
        ModuleTypes {
            ids: ids.collect(),
            registry: registry.clone(),
        }
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

impl Drop for ModuleTypes {
    fn drop(&mut self) {
        let mut inner = self.registry.write();
        for &id in &self.ids {
            inner.release(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cowling_abi::ValType;

    fn ty(params: usize) -> FuncType {
        FuncType {
            params: vec![ValType::I32; params].into(),
            results: [].into(),
        }
    }

    fn module(registry: &Arc<TypeRegistry>, types: &[usize]) -> ModuleTypes {
        let mut info = ModuleInfo::default();
        for &params in types {
            info.types.push(ty(params));
        }
        ModuleTypes::intern(registry, &info)
    }

    #[test]
    fn equal_types_have_equal_numbers_across_modules() {
        let registry = TypeRegistry::new();
        let one = module(&registry, &[1, 2, 1]);
        let two = module(&registry, &[2]);
        assert_eq!(one.ids()[0], one.ids()[2]);
        assert_ne!(one.ids()[0], one.ids()[1]);
        assert_eq!(one.ids()[1], two.ids()[0]);
        assert_eq!(registry.intern(&ty(2)), two.ids()[0]);
        assert_eq!(registry.lookup(two.ids()[0]), Some(ty(2)));
    }

    #[test]
    fn numbers_are_free_only_when_the_last_user_is_gone() {
        let registry = TypeRegistry::new();
        let one = module(&registry, &[1, 1, 2]);
        let two = module(&registry, &[1]);
        let (first, second) = (one.ids()[0], one.ids()[2]);
        drop(one);
        assert_eq!(registry.lookup(first), Some(ty(1)));
        assert_eq!(registry.lookup(second), None);
        assert_eq!(registry.intern(&ty(1)), first);
        drop(two);
        assert_eq!(registry.lookup(first), Some(ty(1)));
        // A module of an everlasting type leaves it alone.
        drop(module(&registry, &[1]));
        assert_eq!(registry.lookup(first), Some(ty(1)));
    }

    #[test]
    fn loading_and_dropping_modules_does_not_accumulate_types() {
        let registry = TypeRegistry::new();
        for round in 0..1000 {
            drop(module(&registry, &[round, round + 1]));
        }
        assert!(registry.read().entries.len() <= 2);
        assert!(registry.read().numbers.is_empty());
    }
}
