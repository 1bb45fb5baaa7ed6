//! For tests: artifacts put together by hand, and tests that need a process of their own.

use cowling_abi::artifact::*;
use cowling_abi::knobs::Knobs;
use cowling_abi::module::FunctionInfo;
use cowling_abi::{FuncIndex, FuncType, ModuleInfo, Trap};
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};

/// What goes into an artifact.
#[derive(Default)]
pub(crate) struct Artifact {
    pub(crate) info: ModuleInfo,
    pub(crate) text: Vec<u8>,
    pub(crate) functions: Vec<CodeRange>,
    pub(crate) trampolines: Vec<Option<TrampolineOffsets>>,
    pub(crate) traps: Vec<(u32, Trap)>,
    pub(crate) addresses: Vec<(u32, Option<u32>)>,
    pub(crate) names: Vec<(u32, &'static str)>,
    pub(crate) data: Vec<u8>,
    pub(crate) images: Vec<u8>,
}

/// Header of the engine that hand-made artifacts are for.
pub(crate) fn engine() -> Header {
    Header::for_this_machine(&Knobs::default())
}

impl Artifact {
    /// A module with one function type `(func)` whose entry trampoline calls `code(ctx)` with `values` in `rdx`.
    pub(crate) fn new() -> Artifact {
        let mut artifact = Artifact::default();
        artifact.info.push_type(FuncType {
            params: [].into(),
            results: [].into(),
        });
        // push rbp; mov rbp, rsp; call rsi; pop rbp; ret
        let entry = artifact.code(&[0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3]);
        artifact.trampolines.push(Some(TrampolineOffsets {
            entry: entry.offset,
            host_shim: entry.offset,
        }));
        artifact
    }

    fn code(&mut self, bytes: &[u8]) -> CodeRange {
        self.text.resize(self.text.len().next_multiple_of(16), 0xcc);
        let offset = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        CodeRange {
            offset,
            len: bytes.len() as u32,
        }
    }

    /// Adds a function of type 0 with this code, whose instruction at `traps.0` means the trap `traps.1`.
    pub(crate) fn function(&mut self, bytes: &[u8], traps: &[(u32, Trap)]) -> FuncIndex {
        let range = self.code(bytes);
        self.functions.push(range);
        let traps = traps.iter().map(|&(at, trap)| (range.offset + at, trap));
        self.traps.extend(traps);
        let ty = self.info.types.keys().next().unwrap();
        self.info.functions.push(FunctionInfo { ty, funcref: None })
    }

    /// The artifact's bytes, for [`engine`].
    pub(crate) fn build(&self) -> Vec<u8> {
        self.build_for(engine())
    }

    /// The artifact's bytes, for another engine.
    pub(crate) fn build_for(&self, engine: Header) -> Vec<u8> {
        // The header's length does not depend on the numbers in it if they are encoded in equally many bytes, so its place is
        // found with a first attempt.
        let mut header = Header {
            file_len: 0,
            content_hash: [0; 32],
            ..engine
        };
        for _ in 0..3 {
            let bytes = self.write(&header.encode());
            header.file_len = bytes.len() as u64;
            header.content_hash = hash_without(&bytes, &header_place(&bytes));
        }
        self.write(&header.encode())
    }

    fn write(&self, header: &[u8]) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let info = postcard::to_stdvec(&self.info).unwrap();
        let names = self
            .names
            .iter()
            .map(|&(index, name)| (FuncIndex::from_u32(index), name));
        for (name, bytes, align) in [
            (SECTION_TEXT, self.text.clone(), IMAGE_ALIGN),
            (SECTION_HEADER, header.to_vec(), 1),
            (SECTION_INFO, info, 1),
            (SECTION_FUNCTIONS, FunctionTable::encode(&self.functions), 4),
            (
                SECTION_TRAMPOLINES,
                TrampolineTable::encode(&self.trampolines),
                4,
            ),
            (
                SECTION_TRAPS,
                TrapTable::encode(self.traps.iter().copied()),
                4,
            ),
            (
                SECTION_ADDRESSES,
                AddressMap::encode(self.addresses.iter().copied()),
                4,
            ),
            (SECTION_NAMES, NameTable::encode(names), 4),
            (SECTION_DATA, self.data.clone(), 1),
            (SECTION_IMAGE, self.images.clone(), IMAGE_ALIGN),
        ] {
            let kind = if name == SECTION_TEXT {
                SectionKind::Text
            } else {
                SectionKind::ReadOnlyData
            };
            let section = object.add_section(Vec::new(), name.into(), kind);
            object.set_section_data(section, bytes, align);
        }
        object.write().unwrap()
    }
}

/// Where in an artifact its header is.
pub(crate) fn header_place(artifact: &[u8]) -> std::ops::Range<usize> {
    let start = artifact
        .windows(MAGIC.len())
        .position(|w| w == MAGIC)
        .unwrap();
    let len = u32::from_le_bytes(artifact[start + 8..start + 12].try_into().unwrap()) as usize;
    start..start + 44 + len
}

fn hash_without(bytes: &[u8], hole: &std::ops::Range<usize>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..hole.start]);
    hasher.update(&bytes[hole.end..]);
    *hasher.finalize().as_bytes()
}

/// Runs a test's body in a process of its own, where no other test runs: for what is process-wide.
///
/// `name` is the test's full name. `case` is handed to `body` in the child, whose exit is returned.
pub(crate) fn in_child(
    name: &str,
    case: &str,
    body: impl FnOnce(&str),
) -> Option<std::process::ExitStatus> {
    const VARIABLE: &str = "COWLING_VM_TEST_CASE";
    if let Ok(case) = std::env::var(VARIABLE) {
        body(&case);
        return None;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, case)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("running 1 test"),
        "no test is called {name}: {text}"
    );
    if !output.status.success() {
        println!(
            "case {case}: {}{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Some(output.status)
}
