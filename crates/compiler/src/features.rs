//! WebAssembly features and the knobs that switch them.

use cowling_abi::knobs::Knobs;
use wasmparser::WasmFeatures;

/// Features that cannot be switched off.
const ALWAYS_ON: WasmFeatures = WasmFeatures::MVP
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION);

macro_rules! switches {
    ($($knob:ident: $feature:ident,)*) => {
        /// The features that these knobs switch on.
        pub fn features(knobs: &Knobs) -> WasmFeatures {
            let mut features = ALWAYS_ON;
            $(features.set(WasmFeatures::$feature, knobs.$knob);)*
            // It is built upon the other.
            if !knobs.wasm_function_references {
                features.remove(WasmFeatures::GC);
            }
            features
        }

        /// Switches features on or off. Returns those of them for which there is no knob.
        pub fn set_features(knobs: &mut Knobs, wanted: WasmFeatures, on: bool) -> WasmFeatures {
            let mut rest = wanted;
            $(
                if wanted.contains(WasmFeatures::$feature) {
                    knobs.$knob = on;
                    rest.remove(WasmFeatures::$feature);
                }
            )*
            rest
        }
    };
}

switches! {
    wasm_multi_value: MULTI_VALUE,
    wasm_bulk_memory: BULK_MEMORY,
    wasm_reference_types: REFERENCE_TYPES,
    wasm_simd: SIMD,
    wasm_extended_const: EXTENDED_CONST,
    wasm_multi_memory: MULTI_MEMORY,
    wasm_exceptions: EXCEPTIONS,
    wasm_threads: THREADS,
    wasm_memory64: MEMORY64,
    wasm_relaxed_simd: RELAXED_SIMD,
    wasm_wide_arithmetic: WIDE_ARITHMETIC,
    wasm_custom_page_sizes: CUSTOM_PAGE_SIZES,
    wasm_compact_imports: COMPACT_IMPORTS,
    wasm_tail_call: TAIL_CALL,
    wasm_function_references: FUNCTION_REFERENCES,
    wasm_gc: GC,
}
