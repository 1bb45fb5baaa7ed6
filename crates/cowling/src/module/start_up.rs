//! What an instance has to do before it can be called, for those who want to know why it takes the time that it takes.

use super::Module;
use cowling_abi::FuncIndex;
use cowling_abi::module::SegmentMode;

/// What an instance of a module is given when it is made: [`Module::start_up`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartUp {
    /// Bytes of the initial size of the memories that it defines.
    pub memory_bytes: u64,
    /// Bytes of their contents that are laid out ahead of time: mapped, not copied.
    pub image_bytes: u64,
    /// Data segments that are copied when it is made, because what they do is not known before.
    pub copied_segments: u32,
    /// Bytes of these.
    pub copied_bytes: u64,
    /// Elements of tables that are laid out ahead of time, and built when they are first used.
    pub lazy_elements: u64,
    /// Elements of tables that are written when it is made.
    pub written_elements: u64,
    /// Globals that it defines.
    pub globals: u32,
    /// The start function, which runs before anything can be called.
    pub start: Option<FuncIndex>,
}

impl Module {
    /// What an instance of it has to do before it can be called.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (memory 2) (data (i32.const 8) "hello") (func $f) (start $f))"#)?;
    /// let start_up = module.start_up();
    /// assert_eq!((start_up.memory_bytes, start_up.image_bytes), (131072, 4096));
    /// assert_eq!(start_up.copied_segments, 0);
    /// assert!(start_up.start.is_some());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn start_up(&self) -> StartUp {
        let info = self.code().info();
        let memories = info.memories.values().skip(info.imported_memories as usize);
        let images = info.memory_images.values().flatten();
        let len = |bytes: &std::ops::Range<u64>| bytes.end.saturating_sub(bytes.start);
        let copied = || {
            let data = info.data.values();
            data.filter(|segment| matches!(segment.mode, SegmentMode::Active { .. }))
        };
        let elements = info.elements.values();
        let written = elements.filter(|segment| matches!(segment.mode, SegmentMode::Active { .. }));
        StartUp {
            memory_bytes: memories.filter_map(|memory| memory.minimum_bytes()).sum(),
            image_bytes: images.map(|image| len(&image.bytes)).sum(),
            copied_segments: copied().count() as u32,
            copied_bytes: copied().map(|segment| len(&segment.bytes)).sum(),
            lazy_elements: info
                .table_inits
                .values()
                .map(|init| init.functions.len() as u64)
                .sum(),
            written_elements: written.map(|segment| segment.items.len() as u64).sum(),
            globals: info.global_inits.len() as u32,
            start: info.start,
        }
    }
}
