//! Reading and validating a binary: one pass that fills a [`ModuleInfo`] and collects what is not a fact but content, as
//! slices of the binary: function bodies (validated later, while they are lowered), data bytes and names.
//!
//! A module is hostile until proven otherwise. Nothing here is proportional to a number that a module merely *declares*
//! (sizes of memories and tables): only to bytes it really has.

pub(crate) mod convert;
mod sections;
#[cfg(test)]
mod tests;

use crate::error::CompileError;
use crate::features::features;
use cowling_abi::artifact::{DebugSections, NameTable};
use cowling_abi::entity::PrimaryMap;
use cowling_abi::knobs::Knobs;
use cowling_abi::{DataIndex, DefinedFuncIndex, FuncIndex, ModuleInfo};
use std::collections::HashMap;
use std::ops::Range;
use wasmparser::{
    BranchHint, Encoding, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody,
    Parser, Payload, ValidPayload, Validator, ValidatorResources,
};

/// A module that is valid except perhaps for its function bodies.
pub(crate) struct Parsed<'wasm> {
    /// The facts.
    pub info: ModuleInfo,
    /// Bodies of defined functions.
    pub bodies: PrimaryMap<DefinedFuncIndex, Body<'wasm>>,
    /// Bytes of data segments.
    pub data: PrimaryMap<DataIndex, &'wasm [u8]>,
    /// Function names, sorted by function, at most one each.
    pub names: Vec<(FuncIndex, &'wasm str)>,
    /// Which branches are likely to be taken.
    pub hints: BranchHints,
    /// Debug information, if it is to be kept.
    pub debug: DebugSections<'wasm>,
}

/// For functions that have any: hints in the order of their places, one each at most. Others are out of order and left out.
pub(crate) type BranchHints = HashMap<FuncIndex, Vec<BranchHint>>;

/// The body of a function, still to be validated.
pub(crate) struct Body<'wasm> {
    /// Its bytes.
    pub body: FunctionBody<'wasm>,
    /// What validates it.
    pub validator: FuncToValidate<ValidatorResources>,
}

impl Body<'_> {
    /// What validates it, in the order of its operators.
    pub(crate) fn validator(
        &self,
        allocations: FuncValidatorAllocations,
    ) -> FuncValidator<ValidatorResources> {
        let validator = FuncToValidate {
            resources: self.validator.resources.clone(),
            index: self.validator.index,
            ty: self.validator.ty,
            features: self.validator.features,
        };
        validator.into_validator(allocations)
    }

    /// Where in the binary it is.
    pub(crate) fn place(&self) -> Range<u32> {
        // Binaries are smaller than 4 GiB.
        let range = self.body.range();
        range.start as u32..range.end as u32
    }
}

/// Reads a module.
///
/// # Errors
/// When it is malformed, invalid (outside function bodies), or passes a limit.
pub(crate) fn parse<'wasm>(
    wasm: &'wasm [u8],
    knobs: &Knobs,
) -> Result<Parsed<'wasm>, CompileError> {
    // Positions in the binary are kept in 32 bits, with one value to spare.
    if wasm.len() >= u32::MAX as usize {
        return Err(CompileError::TooLarge {
            what: format!("the binary has {} bytes, the limit is 4 GiB", wasm.len()),
        });
    }
    let features = features(knobs);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut validator = Validator::new_with_features(features);
    let mut parsed = Parsed {
        info: ModuleInfo::default(),
        bodies: PrimaryMap::new(),
        data: PrimaryMap::new(),
        names: Vec::new(),
        hints: BranchHints::new(),
        debug: DebugSections::default(),
    };
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::Version {
            encoding: Encoding::Component,
            range,
            ..
        } = &payload
        {
            return Err(CompileError::Unsupported {
                offset: range.start,
                what: "this is a component, not a module".into(),
            });
        }
        match validator.payload(&payload)? {
            ValidPayload::Func(validator, body) => {
                parsed.bodies.push(Body { body, validator });
            }
            ValidPayload::Ok | ValidPayload::Parser(_) | ValidPayload::End(_) => {
                parsed.section(payload, knobs)?;
            }
        }
    }
    sort_names(&mut parsed.names, parsed.info.functions.len());
    Ok(parsed)
}

/// Puts names into the order that [`NameTable`] wants and drops those it cannot use. Nobody validates name
/// sections: there may be several, which name a function twice (the first name stays) or one that does not exist.
fn sort_names(names: &mut Vec<(FuncIndex, &str)>, functions: usize) {
    names.retain(|(index, _)| (index.as_u32() as usize) < functions);
    names.sort_by_key(|(index, _)| *index);
    names.dedup_by_key(|(index, _)| *index);
}

impl Parsed<'_> {
    /// The name of a function, if it has one.
    pub(crate) fn name(&self, index: FuncIndex) -> Option<&str> {
        let position = self.names.binary_search_by_key(&index, |(i, _)| *i).ok()?;
        Some(self.names[position].1)
    }

    /// The names, as the artifact keeps them.
    pub(crate) fn name_table(&self) -> Vec<u8> {
        NameTable::encode(self.names.iter().copied())
    }
}
