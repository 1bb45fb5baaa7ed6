//! `inspect`: what a module consists of, and what starting it costs.

use super::{engine, print};
use crate::args::Inspect;
use crate::code;
use crate::config_file::ConfigFile;
use crate::locate::{self, Section};
use crate::report::Failure;
use crate::source::{self, Loaded};
use cowling::{Context as _, Engine, ExternType, Linker, Module, Store};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use wasmparser::{Parser, Payload};

/// How many of the largest functions are shown.
const LARGEST: usize = 5;

/// Shows a module.
pub(super) fn inspect(args: Inspect) -> Result<(), Failure> {
    let file = ConfigFile::read(&args.settings.config)?;
    let cache = args.cache.open(&file)?;
    let engine = engine(&args.settings, &file, |config| {
        config.cache(cache);
        Ok(())
    })?;
    let loaded = source::load(&engine, &args.file, &args.trust.read()?)?;
    let facts = Facts::new(&engine, &args.file, loaded)?;
    print(match args.json {
        true => format!("{:#}\n", facts.json()),
        false => facts.table(),
    })
}

/// What is shown.
struct Facts {
    file: String,
    loaded: Loaded,
    /// Types as text, of a binary.
    types: Vec<String>,
    sections: Vec<Section>,
    artifact_len: usize,
    load: Duration,
    /// Unknown of a module that runs code when it is instantiated.
    instantiate: Option<Duration>,
}

impl Facts {
    fn new(engine: &Engine, path: &Path, loaded: Loaded) -> Result<Facts, Failure> {
        let artifact = loaded.module.serialize()?;
        let wasm = loaded.wasm.as_deref().unwrap_or_default();
        Ok(Facts {
            file: path.display().to_string(),
            types: types(wasm),
            sections: locate::sections(wasm),
            artifact_len: artifact.len(),
            load: time_load(engine, &loaded.module)?,
            instantiate: time_instantiation(&loaded.module),
            loaded,
        })
    }

    fn table(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        let Facts { loaded, .. } = self;
        let module = &loaded.module;
        let _ = writeln!(
            out,
            "{}: {}, {} bytes",
            self.file, loaded.what, loaded.file_len
        );
        if let Some(name) = module.name() {
            let _ = writeln!(out, "name {name:?}");
        }
        if let Some(key) = &loaded.signer {
            let _ = writeln!(out, "signed by {key}");
        }
        heading(out, "imports", module.imports().len());
        for import in module.imports() {
            let _ = writeln!(
                out,
                "  {:?} {:?} {}",
                import.module(),
                import.name(),
                import.ty()
            );
        }
        heading(out, "exports", module.exports().len());
        for export in module.exports() {
            let _ = writeln!(out, "  {:?} {}", export.name(), export.ty());
        }
        if !self.types.is_empty() {
            heading(out, "types", self.types.len());
            for (i, ty) in self.types.iter().enumerate() {
                let _ = writeln!(out, "  {i:4} {ty}");
            }
        }
        if !self.sections.is_empty() {
            heading(out, "sections", self.sections.len());
            for Section {
                name,
                offset,
                len,
                items,
            } in &self.sections
            {
                let _ = write!(out, "  {name:24} at {offset:#8x}, {len:9} bytes");
                let _ = match items {
                    Some(items) => writeln!(out, ", {items} items"),
                    None => writeln!(out),
                };
            }
        }
        self.functions(out);
        self.start_up(out);
        text
    }

    fn functions(&self, out: &mut String) {
        let module = &self.loaded.module;
        heading(out, "functions", module.functions().len());
        let _ = writeln!(out, "  {:9} bytes of machine code", module.text().len());
        for function in largest(module) {
            let _ = writeln!(
                out,
                "  {:9} bytes in {}",
                function.len,
                code::label(&function)
            );
        }
    }

    fn start_up(&self, out: &mut String) {
        let costs = self.loaded.module.start_up();
        let _ = writeln!(out, "\nstart-up");
        let mut row = |what: &str, value: String| {
            let _ = writeln!(out, "  {what:28}{value}");
        };
        row("artifact", format!("{} bytes, mapped", self.artifact_len));
        row("loading", shown(self.load));
        row(
            "instantiating",
            match self.instantiate {
                Some(time) => shown(time),
                None => "unknown".to_string(),
            },
        );
        row("memory", format!("{} bytes", costs.memory_bytes));
        row(
            "  laid out ahead of time",
            format!("{} bytes, mapped", costs.image_bytes),
        );
        row(
            "  copied",
            format!(
                "{} bytes in {} segments",
                costs.copied_bytes, costs.copied_segments
            ),
        );
        row(
            "table elements",
            format!(
                "{} when they are used, {} at once",
                costs.lazy_elements, costs.written_elements
            ),
        );
        row("globals", costs.globals.to_string());
        row(
            "start function",
            match costs.start {
                Some(index) => format!("function {}", index.as_u32()),
                None => "none".to_string(),
            },
        );
    }

    fn json(&self) -> Value {
        let Facts { loaded, .. } = self;
        let module = &loaded.module;
        let costs = module.start_up();
        let imports: Vec<_> = module
            .imports()
            .map(|import| {
                let ty = import.ty();
                json!({"module": import.module(), "name": import.name(), "kind": kind(&ty), "type": ty.to_string()})
            })
            .collect();
        let exports: Vec<_> = module
            .exports()
            .map(|export| {
                let ty = export.ty();
                json!({"name": export.name(), "kind": kind(&ty), "type": ty.to_string()})
            })
            .collect();
        let sections: Vec<_> = self
            .sections
            .iter()
            .map(|s| json!({"name": s.name, "offset": s.offset, "bytes": s.len, "items": s.items}))
            .collect();
        let functions: Vec<_> = module
            .functions()
            .map(|f| json!({"index": f.index.as_u32(), "name": f.name, "code_bytes": f.len}))
            .collect();
        json!({
            "file": self.file,
            "what": loaded.what,
            "bytes": loaded.file_len,
            "name": module.name(),
            "signed_by": loaded.signer.as_ref().map(ToString::to_string),
            "imports": imports,
            "exports": exports,
            "types": self.types,
            "sections": sections,
            "code_bytes": module.text().len(),
            "functions": functions,
            "start_up": {
                "artifact_bytes": self.artifact_len,
                "load_us": microseconds(self.load),
                "instantiate_us": self.instantiate.map(microseconds),
                "memory_bytes": costs.memory_bytes,
                "image_bytes": costs.image_bytes,
                "copied_segments": costs.copied_segments,
                "copied_bytes": costs.copied_bytes,
                "lazy_elements": costs.lazy_elements,
                "written_elements": costs.written_elements,
                "globals": costs.globals,
                "start_function": costs.start.map(|index| index.as_u32()),
            },
        })
    }
}

fn heading(out: &mut String, what: &str, count: usize) {
    let _ = writeln!(out, "\n{what} ({count})");
}

fn kind(ty: &ExternType) -> &'static str {
    match ty {
        ExternType::Func(_) => "function",
        ExternType::Global(_) => "global",
        ExternType::Table(_) => "table",
        ExternType::Memory(_) => "memory",
        ExternType::Tag(_) => "tag",
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn shown(time: Duration) -> String {
    format!("{:.1} us on this machine", microseconds(time))
}

/// The functions with the most code, the largest first.
fn largest(module: &Module) -> Vec<cowling::ModuleFunction> {
    let mut functions: Vec<_> = module.functions().collect();
    functions.sort_by_key(|function| std::cmp::Reverse(function.len));
    functions.truncate(LARGEST);
    functions
}

/// The types of a binary, as text.
fn types(wasm: &[u8]) -> Vec<String> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Ok(Payload::TypeSection(section)) = payload {
            let groups = section.into_iter().flatten();
            return groups
                .flat_map(|group| {
                    group
                        .into_types()
                        .map(|ty| ty.to_string())
                        .collect::<Vec<_>>()
                })
                .collect();
        }
    }
    Vec::new()
}

/// How long it takes to load the artifact, as from the cache.
fn time_load(engine: &Engine, module: &Module) -> Result<Duration, Failure> {
    let code = module.serialize()?;
    let written = tempfile::NamedTempFile::new().and_then(|mut file| {
        std::io::Write::write_all(&mut file, &code)?;
        Ok(file)
    });
    let file = written.context("cannot write a temporary file to load")?;
    // The first time its checksum is looked at, and noted if there is a cache.
    let begun = Instant::now();
    Module::deserialize_file(engine, file.path())?;
    Ok(begun.elapsed())
}

/// How long it takes to make an instance, with imports that do nothing, if nothing of the module runs then.
fn time_instantiation(module: &Module) -> Option<Duration> {
    /// The first one pays for what later ones find done.
    const TIMES: u32 = 3;
    if module.start_up().start.is_some() {
        return None;
    }
    let mut best = Duration::MAX;
    for _ in 0..TIMES {
        let mut store = Store::new(module.engine(), ());
        let mut linker = Linker::new(module.engine());
        linker
            .define_unknown_imports_as_default_values(&mut store, module)
            .ok()?;
        let pre = linker.instantiate_pre(module).ok()?;
        let begun = Instant::now();
        pre.instantiate(&mut store).ok()?;
        best = best.min(begun.elapsed());
    }
    Some(best)
}
