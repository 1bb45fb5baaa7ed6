//! References that are null and can be nothing else: what is below all others of a hierarchy.

use crate::val::{Ref, Val};
use cowling_vm::{Bottom, NoExternKind, NoFuncKind, NoneKind};

macro_rules! nothings {
    ($($(#[$doc:meta])* $Ty:ident $Kind:ident $Variant:ident $Val:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, Debug)]
        pub struct $Ty(pub(crate) Bottom<$Kind>);

        impl $Ty {
            /// Null, the only reference of this type.
            pub const fn null() -> Option<$Ty> {
                None
            }

            /// Null as a [`Ref`].
            pub const fn null_ref() -> Ref {
                Ref::$Variant(None)
            }

            /// Null as a [`Val`].
            pub const fn null_val() -> Val {
                Val::$Val(None)
            }
        }

        impl PartialEq for $Ty {
            fn eq(&self, _other: &$Ty) -> bool {
                self.0.absurd()
            }
        }

        impl Eq for $Ty {}
    )*};
}

nothings! {
    /// No function: `nullfuncref` is `Option<NoFunc>`. There is no value of this type.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (func (export "f") (param (ref null nofunc)) (result i32) (ref.is_null (local.get 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let f = instance.get_typed_func::<Option<NoFunc>, i32>(&mut store, "f")?;
    /// assert_eq!(f.call(&mut store, NoFunc::null())?, 1);
    /// # Ok::<(), Error>(())
    /// ```
    NoFunc NoFuncKind Func FuncRef;
    /// No host value: `nullexternref` is `Option<NoExtern>`. There is no value of this type.
    NoExtern NoExternKind Extern ExternRef;
    /// Nothing that guests make: `nullref` is `Option<NoneRef>`. There is no value of this type.
    NoneRef NoneKind Any AnyRef;
}
