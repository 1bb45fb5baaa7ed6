//! A table of objects under small numbers, as POSIX gives them out: the lowest free one first.

use rustix::io::Errno;

use super::error::Result;

/// Objects under descriptor numbers, no more than a limit of them.
#[derive(Debug)]
pub(crate) struct Table<V> {
    slots: Vec<Option<V>>,
    /// No slot below this one is free.
    first_free: usize,
    limit: usize,
}

impl<V> Table<V> {
    /// A table of `values`, numbered from 0. More fit up to `limit` objects in all.
    pub(crate) fn new(values: Vec<V>, limit: u32) -> Self {
        Table {
            first_free: values.len(),
            slots: values.into_iter().map(Some).collect(),
            limit: limit as usize,
        }
    }

    /// Puts `value` under the lowest free number.
    ///
    /// # Errors
    ///
    /// `EMFILE` when the table is full.
    pub(crate) fn insert(&mut self, value: V) -> Result<u32> {
        let index = (self.first_free..self.slots.len())
            .find(|&index| self.slots[index].is_none())
            .unwrap_or(self.slots.len());
        if index >= self.limit {
            return Err(Errno::MFILE.into());
        }
        if index == self.slots.len() {
            self.slots.push(Some(value));
        } else {
            self.slots[index] = Some(value);
        }
        self.first_free = index + 1;
        u32::try_from(index).map_err(|_| Errno::MFILE.into())
    }

    /// Fails with `EMFILE` when [`insert`](Self::insert) would.
    pub(crate) fn require_room(&self) -> Result<()> {
        let full = self.slots.len() >= self.limit
            && self.slots[self.first_free..].iter().all(Option::is_some);
        if full {
            Err(Errno::MFILE.into())
        } else {
            Ok(())
        }
    }

    /// The object under `number`, or `EBADF`.
    pub(crate) fn get(&self, number: u32) -> Result<&V> {
        self.slots
            .get(number as usize)
            .and_then(Option::as_ref)
            .ok_or(Errno::BADF.into())
    }

    /// The object under `number`, or `EBADF`.
    pub(crate) fn get_mut(&mut self, number: u32) -> Result<&mut V> {
        self.slots
            .get_mut(number as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF.into())
    }

    /// Takes the object out from under `number`, or fails with `EBADF`.
    pub(crate) fn remove(&mut self, number: u32) -> Result<V> {
        let index = number as usize;
        let value = self
            .slots
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::BADF)?;
        self.first_free = self.first_free.min(index);
        Ok(value)
    }

    /// Moves the object under `from` to `to`, dropping the one that was there.
    ///
    /// Both numbers must be taken (`EBADF`); nothing changes when they are the same.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<()> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let value = self.remove(from)?;
            *self.get_mut(to)? = value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn badf<T>() -> Result<T> {
        Err(Errno::BADF.into())
    }

    #[test]
    fn numbers_are_the_lowest_free_ones() {
        let mut table = Table::new(vec![], 10);
        for expected in 0..5 {
            assert_eq!(table.insert('x'), Ok(expected));
        }
        table.remove(3).unwrap();
        table.remove(1).unwrap();
        assert_eq!(table.insert('y'), Ok(1));
        assert_eq!(table.insert('y'), Ok(3));
        assert_eq!(table.insert('y'), Ok(5));
        assert_eq!(table.get(3), Ok(&'y'));
        assert_eq!(table.get(6), badf());
        assert_eq!(table.get(u32::MAX), badf());
    }

    #[test]
    fn a_full_table_refuses_until_something_is_removed() {
        let mut table = Table::new(vec![], 2);
        table.insert(0).unwrap();
        table.insert(1).unwrap();
        assert_eq!(table.require_room(), Err(Errno::MFILE.into()));
        assert_eq!(table.insert(2), Err(Errno::MFILE.into()));
        assert_eq!(table.remove(0), Ok(0));
        assert_eq!(table.remove(0), badf());
        assert_eq!(table.require_room(), Ok(()));
        assert_eq!(table.insert(3), Ok(0));
    }

    #[test]
    fn renumber_moves_drops_the_old_object_and_frees_the_old_number() {
        let (a, b) = (Rc::new('a'), Rc::new('b'));
        let mut table = Table::new(vec![], 10);
        table.insert(a.clone()).unwrap();
        table.insert(b.clone()).unwrap();
        assert_eq!(table.renumber(0, 1), Ok(()));
        assert_eq!(**table.get(1).unwrap(), 'a');
        assert_eq!(Rc::strong_count(&b), 1, "the overwritten object is dropped");
        assert_eq!(
            Rc::strong_count(&a),
            2,
            "the moved object is neither dropped nor copied"
        );
        assert_eq!(table.get(0), badf());
        assert_eq!(table.insert(b), Ok(0));
    }

    #[test]
    fn renumber_to_itself_changes_nothing_and_bad_numbers_change_nothing() {
        let mut table = Table::new(vec![], 10);
        table.insert('a').unwrap();
        assert_eq!(table.renumber(0, 0), Ok(()));
        assert_eq!(table.renumber(0, 1), badf());
        assert_eq!(table.renumber(1, 0), badf());
        assert_eq!(table.renumber(7, 7), badf());
        assert_eq!(table.get(0), Ok(&'a'));
    }
}
