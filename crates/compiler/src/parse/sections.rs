//! The sections of a module, one method each. They run after the validator has accepted the section, so indices are in range.

use super::Parsed;
use super::convert::{
    TypesAndGroup, const_expr, global_type, memory_type, ref_type, sub_type, table_type,
};
use crate::error::CompileError;
use cowling_abi::knobs::Knobs;
use cowling_abi::module::{
    ConstExpr, ConstOp, DataSegment, ElementItems, ElementSegment, FunctionInfo, Import,
    SegmentMode, TableInit,
};
use cowling_abi::{
    EntityIndex, FuncIndex, GlobalIndex, MemoryIndex, RefType, TableIndex, TagIndex, TypeIndex,
};
use wasmparser::{
    BranchHint, CustomSectionReader, Data, DataKind, Element, ElementKind, ExternalKind,
    KnownCustom, Name, NameSectionReader, Payload, TypeRef, TypeSectionReader,
};

impl<'wasm> Parsed<'wasm> {
    /// Takes the facts from one validated section.
    pub(super) fn section(
        &mut self,
        payload: Payload<'wasm>,
        knobs: &Knobs,
    ) -> Result<(), CompileError> {
        match payload {
            Payload::TypeSection(reader) => self.types(reader)?,
            Payload::ImportSection(reader) => {
                for import in reader.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.import(&import, offset)?;
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.function(ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader.into_iter_with_offsets() {
                    let (offset, table) = table?;
                    let fill = match table.init {
                        wasmparser::TableInit::RefNull => None,
                        wasmparser::TableInit::Expr(expr) => {
                            Some(const_expr(&expr, &mut self.info)?)
                        }
                    };
                    self.info
                        .tables
                        .push(table_type(&table.ty, &self.info.types, offset)?);
                    self.info.table_inits.push(TableInit {
                        fill,
                        functions: Vec::new(),
                    });
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader.into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    self.info.memories.push(memory_type(&memory, offset)?);
                    self.info.memory_images.push(None);
                }
            }
            Payload::TagSection(reader) => {
                for tag in reader {
                    self.info.tags.push(TypeIndex::from_u32(tag?.func_type_idx));
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    let init = const_expr(&global.init_expr, &mut self.info)?;
                    self.info
                        .globals
                        .push(global_type(&global.ty, &self.info.types, offset)?);
                    self.info.global_inits.push(init);
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    self.export(export?);
                }
            }
            Payload::StartSection { func, .. } => {
                // The host calls it through a reference, as it does exports.
                let start = FuncIndex::from_u32(func);
                self.info.mark_escaping(start);
                self.info.start = Some(start);
            }
            Payload::ElementSection(reader) => {
                for element in reader {
                    self.element(&element?)?;
                }
            }
            Payload::DataSection(reader) => {
                for data in reader {
                    self.data_segment(&data?)?;
                }
            }
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => {
                // Less than 4 GiB, as the binary is.
                self.debug.code_start = unchecked_range.start as u32;
            }
            Payload::CustomSection(reader) => self.custom(&reader, knobs),
            // The validator has checked what these say; nothing in them is a fact of its own.
            Payload::Version { .. }
            | Payload::DataCountSection { .. }
            | Payload::CodeSectionEntry(_)
            | Payload::End(_) => {}
            other => {
                return Err(CompileError::Unsupported {
                    offset: other.as_section().map_or(0, |(_, range)| range.start),
                    what: "a section that belongs to no core module".into(),
                });
            }
        }
        Ok(())
    }

    fn types(&mut self, reader: TypeSectionReader<'wasm>) -> Result<(), CompileError> {
        for group in reader {
            let group: Vec<_> = group?.into_types_and_offsets().collect();
            let types = TypesAndGroup {
                before: &self.info.types,
                group: &group,
            };
            let converted = group
                .iter()
                .map(|(offset, ty)| sub_type(ty, &types, *offset));
            let converted = converted.collect::<Result<Vec<_>, _>>()?;
            self.info.types.extend(converted);
            self.info.group_ends.push(self.info.types.next_key());
        }
        Ok(())
    }

    fn function(&mut self, ty: u32) -> FuncIndex {
        self.info.functions.push(FunctionInfo {
            ty: TypeIndex::from_u32(ty),
            funcref: None,
        })
    }

    fn import(&mut self, import: &wasmparser::Import<'_>, offset: u64) -> Result<(), CompileError> {
        let entity = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.info.imported_functions += 1;
                EntityIndex::Func(self.function(ty))
            }
            TypeRef::Table(ty) => {
                self.info.imported_tables += 1;
                EntityIndex::Table(self.info.tables.push(table_type(
                    &ty,
                    &self.info.types,
                    offset,
                )?))
            }
            TypeRef::Memory(ty) => {
                self.info.imported_memories += 1;
                EntityIndex::Memory(self.info.memories.push(memory_type(&ty, offset)?))
            }
            TypeRef::Global(ty) => {
                self.info.imported_globals += 1;
                EntityIndex::Global(self.info.globals.push(global_type(
                    &ty,
                    &self.info.types,
                    offset,
                )?))
            }
            TypeRef::Tag(ty) => {
                self.info.imported_tags += 1;
                let ty = TypeIndex::from_u32(ty.func_type_idx);
                EntityIndex::Tag(self.info.tags.push(ty))
            }
        };
        self.info.imports.push(Import {
            module: import.module.to_string(),
            field: import.name.to_string(),
            entity,
        });
        Ok(())
    }

    fn export(&mut self, export: wasmparser::Export<'_>) {
        let entity = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                let function = FuncIndex::from_u32(export.index);
                self.info.mark_escaping(function);
                EntityIndex::Func(function)
            }
            ExternalKind::Table => EntityIndex::Table(TableIndex::from_u32(export.index)),
            ExternalKind::Memory => EntityIndex::Memory(MemoryIndex::from_u32(export.index)),
            ExternalKind::Global => EntityIndex::Global(GlobalIndex::from_u32(export.index)),
            ExternalKind::Tag => EntityIndex::Tag(TagIndex::from_u32(export.index)),
        };
        self.info.exports.insert(export.name.to_string(), entity);
    }

    fn element(&mut self, element: &Element<'_>) -> Result<(), CompileError> {
        let mode = match &element.kind {
            ElementKind::Passive => SegmentMode::Passive,
            ElementKind::Declared => SegmentMode::Declared,
            ElementKind::Active {
                table_index,
                offset_expr,
            } => SegmentMode::Active {
                target: TableIndex::from_u32(table_index.unwrap_or(0)),
                offset: const_expr(offset_expr, &mut self.info)?,
            },
        };
        let (ty, items) = match &element.items {
            wasmparser::ElementItems::Functions(reader) => {
                let mut functions = Vec::new();
                for function in reader.clone() {
                    let function = FuncIndex::from_u32(function?);
                    self.info.mark_escaping(function);
                    functions.push(function);
                }
                (RefType::FUNCREF, ElementItems::Functions(functions))
            }
            wasmparser::ElementItems::Expressions(ty, reader) => {
                let mut exprs = Vec::new();
                for expr in reader.clone() {
                    exprs.push(const_expr(&expr?, &mut self.info)?);
                }
                (
                    ref_type(*ty, &self.info.types, element.range.start)?,
                    functions_only(&exprs).unwrap_or(ElementItems::Expressions(exprs)),
                )
            }
        };
        let items = match mode {
            // Its only effect is that its functions escape.
            SegmentMode::Declared => ElementItems::Functions(Vec::new()),
            _ => items,
        };
        self.info.elements.push(ElementSegment { mode, ty, items });
        Ok(())
    }

    fn data_segment(&mut self, data: &Data<'wasm>) -> Result<(), CompileError> {
        let mode = match &data.kind {
            DataKind::Passive => SegmentMode::Passive,
            DataKind::Active {
                memory_index,
                offset_expr,
            } => SegmentMode::Active {
                target: MemoryIndex::from_u32(*memory_index),
                offset: const_expr(offset_expr, &mut self.info)?,
            },
        };
        self.data.push(data.data);
        // Where the bytes go in the artifact is decided once it is known which segments are folded into images.
        self.info.data.push(DataSegment { mode, bytes: 0..0 });
        Ok(())
    }

    /// Custom sections cannot make a module invalid: a malformed one gives what stands before the mistake.
    fn custom(&mut self, section: &CustomSectionReader<'wasm>, knobs: &Knobs) {
        match section.as_known() {
            KnownCustom::Name(reader) => self.name_section(reader),
            KnownCustom::BranchHints(reader) if knobs.wasm_branch_hinting => {
                for function in reader.into_iter().map_while(Result::ok) {
                    let mut hints = Vec::<BranchHint>::new();
                    for hint in function.hints.into_iter().map_while(Result::ok) {
                        let after = |last: &BranchHint| last.func_offset < hint.func_offset;
                        if hints.last().is_none_or(after) {
                            hints.push(hint);
                        }
                    }
                    self.hints.insert(FuncIndex::from_u32(function.func), hints);
                }
            }
            _ => {
                self.info.has_debug_info |= section.name() == ".debug_info";
                if knobs.wasm_backtrace_details.are_wanted() {
                    self.debug.add(section.name(), section.data());
                }
            }
        }
    }

    fn name_section(&mut self, reader: NameSectionReader<'wasm>) {
        for subsection in reader.map_while(Result::ok) {
            match subsection {
                Name::Module { name, .. } => self.info.name = Some(name.to_string()),
                Name::Function(names) => self.names.extend(
                    names
                        .into_iter()
                        .map_while(Result::ok)
                        .map(|naming| (FuncIndex::from_u32(naming.index), naming.name)),
                ),
                _ => {}
            }
        }
    }
}

/// The elements as a plain list of functions, if that is what they are: the common case, and much smaller.
fn functions_only(exprs: &[ConstExpr]) -> Option<ElementItems> {
    let functions = exprs.iter().map(|expr| match expr.ops[..] {
        [ConstOp::RefFunc(function)] => Some(function),
        _ => None,
    });
    functions
        .collect::<Option<Vec<_>>>()
        .map(ElementItems::Functions)
}
