//! The table of functions in an artifact: large programs have a hundred thousand, so it is read in one go.
//!
//! ```text
//!   | type: u32 | place among the funcrefs, or u32::MAX: u32 |    for each function, little-endian
//! ```

use super::FunctionInfo;
use crate::entity::PrimaryMap;
use crate::index::{FuncIndex, FuncRefIndex, TypeIndex};
use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use std::fmt;

/// In place of a funcref's, for a function that has none.
const NONE: u32 = u32::MAX;

const BYTES: usize = 8;

/// # Errors
/// Those of the serializer.
pub(super) fn serialize<S: Serializer>(
    functions: &PrimaryMap<FuncIndex, FunctionInfo>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(functions.len() * BYTES);
    for function in functions.values() {
        let funcref = function.funcref.map_or(NONE, FuncRefIndex::as_u32);
        bytes.extend(function.ty.as_u32().to_le_bytes());
        bytes.extend(funcref.to_le_bytes());
    }
    serializer.serialize_bytes(&bytes)
}

/// # Errors
/// Those of the deserializer; when there is not a whole number of functions.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PrimaryMap<FuncIndex, FunctionInfo>, D::Error> {
    deserializer.deserialize_bytes(Functions)
}

struct Functions;

impl Visitor<'_> for Functions {
    type Value = PrimaryMap<FuncIndex, FunctionInfo>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of functions")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        let (functions, rest) = bytes.as_chunks::<BYTES>();
        if !rest.is_empty() {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        let function = |&[a, b, c, d, e, f, g, h]: &[u8; BYTES]| {
            let funcref = u32::from_le_bytes([e, f, g, h]);
            FunctionInfo {
                ty: TypeIndex::from_u32(u32::from_le_bytes([a, b, c, d])),
                funcref: (funcref != NONE).then(|| FuncRefIndex::from_u32(funcref)),
            }
        };
        Ok(functions.iter().map(function).collect::<Vec<_>>().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::ModuleInfo;

    #[test]
    fn what_was_written_is_read_and_half_a_function_is_an_error() {
        let function = |ty, funcref: Option<u32>| FunctionInfo {
            ty: TypeIndex::from_u32(ty),
            funcref: funcref.map(FuncRefIndex::from_u32),
        };
        let functions = vec![
            function(0, None),
            function(7, Some(0)),
            function(u32::MAX - 1, Some(u32::MAX - 1)),
        ];
        let info = ModuleInfo {
            functions: functions.clone().into(),
            ..ModuleInfo::default()
        };
        let bytes = postcard::to_stdvec(&info).unwrap();
        let read: ModuleInfo = postcard::from_bytes(&bytes).unwrap();
        assert!(read.functions.values().eq(&functions));
        let half: Result<_, serde::de::value::Error> = Functions.visit_bytes(&[0; 12]);
        let message = half.unwrap_err().to_string();
        assert!(message.contains("12") && message.contains("table of functions"));
    }
}
