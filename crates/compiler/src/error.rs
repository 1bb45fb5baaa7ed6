//! Why a module cannot be compiled.

use crate::operator_cost::UnknownOperator;
use cowling_abi::FuncIndex;
use std::fmt;
use std::path::PathBuf;

/// Why a module cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The bytes are not a valid module, or use a proposal that is switched off.
    #[error("invalid WebAssembly module: {message} (at offset {offset:#x})")]
    Invalid {
        /// Byte offset in the binary.
        offset: u64,
        /// What is wrong there.
        message: String,
    },
    /// The module is valid but uses something this compiler does not translate.
    #[error("unsupported WebAssembly: {what} (at offset {offset:#x})")]
    Unsupported {
        /// Byte offset in the binary.
        offset: u64,
        /// What is not supported.
        what: String,
    },
    /// The module passes a limit of this implementation.
    #[error("module is too large: {what}")]
    TooLarge {
        /// The limit it passes.
        what: String,
    },
    /// A function passes a limit of this implementation.
    #[error("{function} is too large: {what}")]
    FunctionTooLarge {
        /// The function.
        function: FunctionLabel,
        /// The limit it passes.
        what: String,
    },
    /// The code generator refused a function.
    #[error("cannot generate code for {function}: {message}")]
    Codegen {
        /// The function.
        function: FunctionLabel,
        /// What the code generator says.
        message: String,
    },
    /// Code cannot be generated for this machine or under these settings.
    #[error("cannot generate code on this machine: {0}")]
    Machine(String),
    /// Code cannot be generated for machines of this kind.
    #[error("cannot generate code for `{triple}`: {reason}")]
    Target {
        /// Their target triple.
        triple: String,
        /// Why not.
        reason: String,
    },
    /// A cost in fuel was given to something that is no operator.
    #[error(transparent)]
    OperatorCost(#[from] UnknownOperator),
    /// The intermediate code cannot be written down.
    #[error("cannot write `{}`: {message}", file.display())]
    Clif {
        /// The file it was for.
        file: PathBuf,
        /// What the system says.
        message: String,
    },
}

impl CompileError {
    /// Does something, not a function, pass a limit?
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, CompileError::TooLarge { .. })
    }

    /// What was found out while this function was compiled.
    pub(crate) fn in_function(self, function: FunctionLabel) -> CompileError {
        match self {
            CompileError::TooLarge { what } => CompileError::FunctionTooLarge { function, what },
            error => error,
        }
    }
}

impl From<wasmparser::Error> for CompileError {
    fn from(error: wasmparser::Error) -> Self {
        CompileError::Invalid {
            offset: error.offset(),
            message: one_line(error.message()),
        }
    }
}

/// Messages quote bytes and names of the module, which may contain anything.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// A piece of code as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionLabel {
    /// A function of the module.
    Function {
        /// Its index, imported functions counted.
        index: FuncIndex,
        /// Its name, if the module's name section gives one.
        name: Option<String>,
    },
    /// A trampoline between host and guest for functions of this type.
    Trampoline(String),
}

impl fmt::Display for FunctionLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FunctionLabel::Function { index, name: None } => {
                write!(f, "function {}", index.as_u32())
            }
            FunctionLabel::Function {
                index,
                name: Some(name),
            } => write!(f, "function {} (`{name}`)", index.as_u32()),
            FunctionLabel::Trampoline(ty) => write!(f, "the trampolines of type `{ty}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_culprit() {
        let error = CompileError::Codegen {
            function: FunctionLabel::Function {
                index: FuncIndex::from_u32(7),
                name: Some("fib".into()),
            },
            message: "too large".into(),
        };
        assert_eq!(
            error.to_string(),
            "cannot generate code for function 7 (`fib`): too large"
        );
    }
}
