//! Maps from typed indices: a vector whose positions are of one kind, so that no other index fits.

use serde::{Deserialize, Serialize};
use std::iter::{Enumerate, Map};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::slice;

/// An index of one kind of thing.
pub trait EntityRef: Copy {
    /// The index of a position.
    ///
    /// # Panics
    /// If it does not fit in 32 bits.
    fn new(position: usize) -> Self;

    /// Its position.
    fn index(self) -> usize;
}

/// What there is of one kind, by index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrimaryMap<K, V> {
    elements: Vec<V>,
    #[serde(skip)]
    key: PhantomData<K>,
}

impl<K, V> Default for PrimaryMap<K, V> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<K, V> From<Vec<V>> for PrimaryMap<K, V> {
    fn from(elements: Vec<V>) -> Self {
        PrimaryMap {
            elements,
            key: PhantomData,
        }
    }
}

impl<K: EntityRef, V> PrimaryMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        PrimaryMap::default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The index that the next one gets.
    pub fn next_key(&self) -> K {
        K::new(self.elements.len())
    }

    /// Adds one.
    pub fn push(&mut self, value: V) -> K {
        let key = self.next_key();
        self.elements.push(value);
        key
    }

    /// The one at an index, if there is one.
    pub fn get(&self, key: K) -> Option<&V> {
        self.elements.get(key.index())
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.elements.get_mut(key.index())
    }

    /// Is there one at this index?
    pub fn is_valid(&self, key: K) -> bool {
        key.index() < self.elements.len()
    }

    /// All indices.
    pub fn keys(
        &self,
    ) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator + Clone + use<K, V> {
        (0..self.elements.len()).map(K::new)
    }

    /// All of them.
    pub fn values(&self) -> slice::Iter<'_, V> {
        self.elements.iter()
    }

    /// All of them, to change them.
    pub fn values_mut(&mut self) -> slice::IterMut<'_, V> {
        self.elements.iter_mut()
    }

    /// All of them, and the map no longer.
    pub fn into_values(self) -> std::vec::IntoIter<V> {
        self.elements.into_iter()
    }

    /// All of them with their indices.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let all = self.elements.iter().enumerate();
        all.map(|(position, value)| (K::new(position), value))
    }

    /// All of them with their indices, to change them.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (K, &mut V)> + ExactSizeIterator {
        let all = self.elements.iter_mut().enumerate();
        all.map(|(position, value)| (K::new(position), value))
    }
}

/// See [`PrimaryMap::iter`].
pub type Iter<'a, K, V> = Map<Enumerate<slice::Iter<'a, V>>, fn((usize, &'a V)) -> (K, &'a V)>;

impl<'a, K: EntityRef, V> IntoIterator for &'a PrimaryMap<K, V> {
    type Item = (K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K: EntityRef, V> Index<K> for PrimaryMap<K, V> {
    type Output = V;

    fn index(&self, key: K) -> &V {
        &self.elements[key.index()]
    }
}

impl<K: EntityRef, V> IndexMut<K> for PrimaryMap<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        &mut self.elements[key.index()]
    }
}

impl<K, V> FromIterator<V> for PrimaryMap<K, V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        Vec::from_iter(values).into()
    }
}

impl<K, V> Extend<V> for PrimaryMap<K, V> {
    fn extend<I: IntoIterator<Item = V>>(&mut self, values: I) {
        self.elements.extend(values);
    }
}
