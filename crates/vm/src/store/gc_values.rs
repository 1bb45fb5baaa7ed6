//! What the host can do with references of the `any` hierarchy: every use is checked.

use super::{ArrayRef, StoreInner};
use crate::code::RegisteredType;
use crate::const_expr::Contents;
use crate::error::{GcError, InstantiateError, ObjectError, RefError};
use crate::gc::mark::{Kind, kind};
use crate::host_ref::{AnyRef, ExnRef, HostRef, Rooted};
use crate::values::Value;
use cowling_abi::layout::{TypeRow, VmValue};
use cowling_abi::{CompositeType, FieldType, HeapType, StorageType, TypeRef, ValType};
use std::sync::Arc;

/// The kind of an object that a reference must be to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Struct,
    Array,
}

impl StoreInner {
    // --- references ---

    /// The number by which guest code knows what is referred to. Never 0.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn any_ref_raw(&self, reference: AnyRef) -> Result<u32, RefError> {
        self.objects().raw(reference.0)
    }

    fn root_raw(&mut self, raw: u32) -> Result<AnyRef, RefError> {
        let rooted = self.objects_mut().root(raw);
        rooted.map(AnyRef).ok_or(RefError::Unrooted)
    }

    /// What guest code knows by this number, rooted in the current scope. `None` for null, and for numbers of nothing that is alive.
    pub fn any_ref_from_raw(&mut self, raw: u32) -> Option<AnyRef> {
        self.root_number(raw).map(AnyRef)
    }

    /// What guest code knows by this number, rooted in the current scope. `None` for null, and for numbers of nothing that is alive.
    pub fn host_ref_from_raw(&mut self, raw: u32) -> Option<HostRef> {
        self.root_number(raw).map(HostRef)
    }

    /// The exception that guest code knows by this number, rooted in the current scope. `None` for null, and for numbers of no
    /// exception that is alive.
    pub fn exn_ref_from_raw(&mut self, raw: u32) -> Option<ExnRef> {
        let exceptions = |is_exception| is_exception;
        (self.objects_mut().root_foreign(raw, exceptions)).map(ExnRef)
    }

    /// Roots what a number refers to, if that is anything but an exception. None is an object while a guest is interrupted at an
    /// instruction: it may not have written what it makes yet.
    fn root_number(&mut self, raw: u32) -> Option<Rooted> {
        match kind(raw) {
            Kind::Plain => self.objects_mut().root(raw & (raw & 1).wrapping_neg()),
            Kind::Object
                if !self.execution().computations().is_interrupted()
                    && self.heap().is_some_and(|heap| heap.has_object(raw)) =>
            {
                self.objects_mut().root(raw)
            }
            Kind::Object => None,
            Kind::Foreign => (self.objects_mut()).root_foreign(raw, |is_exception| !is_exception),
        }
    }

    /// The most precise type of what a reference refers to.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn any_ref_type(&self, reference: AnyRef) -> Result<HeapType, RefError> {
        let raw = self.any_ref_raw(reference)?;
        Ok(match kind(raw) {
            Kind::Plain => HeapType::I31,
            Kind::Foreign => HeapType::Any,
            Kind::Object => {
                let id = self.object_type(raw);
                let name = TypeRef::Engine(id);
                match self.config().types.kind(id) {
                    TypeRow::ARRAY => HeapType::ConcreteArray(name),
                    _ => HeapType::ConcreteStruct(name),
                }
            }
        })
    }

    /// A reference to a number, of which the lower 31 bits count.
    pub fn any_ref_from_i31(&mut self, value: u32) -> AnyRef {
        let rooted = self.objects_mut().root(value << 1 | 1);
        AnyRef(rooted.unwrap_or_else(|| unreachable!("references to numbers are not null")))
    }

    /// The number, of 31 bits, if a reference is to one.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn any_ref_as_i31(&self, reference: AnyRef) -> Result<Option<u32>, RefError> {
        let raw = self.any_ref_raw(reference)?;
        Ok((raw & 1 == 1).then_some(raw >> 1))
    }

    /// The same reference as one of the `extern` hierarchy.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn any_ref_to_extern(&mut self, reference: AnyRef) -> Result<HostRef, RefError> {
        let raw = self.any_ref_raw(reference)?;
        Ok(HostRef(self.root_raw(raw)?.0))
    }

    /// The same reference as one of the `any` hierarchy.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn any_ref_from_extern(&mut self, reference: HostRef) -> Result<AnyRef, RefError> {
        let raw = self.objects().raw(reference.0)?;
        self.root_raw(raw)
    }

    /// Is a reference of the `extern` hierarchy to a host value, not to something guests have made?
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn is_host_value(&self, reference: HostRef) -> Result<bool, RefError> {
        Ok(kind(self.objects().raw(reference.0)?) == Kind::Foreign)
    }

    /// The type of an object, kept; `None` if the reference is to something else.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn object_registered_type(
        &self,
        reference: AnyRef,
    ) -> Result<Option<RegisteredType>, RefError> {
        let raw = self.any_ref_raw(reference)?;
        if kind(raw) != Kind::Object {
            return Ok(None);
        }
        let ty = self.config().types.get(self.object_type(raw));
        debug_assert!(ty.is_some(), "objects have types of their store's engine");
        Ok(ty)
    }

    // --- objects ---

    /// The object that a reference must be to, and its type.
    fn object(
        &self,
        reference: AnyRef,
        wanted: Wanted,
    ) -> Result<(u32, RegisteredType), ObjectError> {
        let raw = self.any_ref_raw(reference)?;
        let ty = self.object_registered_type(reference)?;
        let found = ty.filter(|ty| match wanted {
            Wanted::Struct => matches!(ty.ty().composite, CompositeType::Struct(_)),
            Wanted::Array => matches!(ty.ty().composite, CompositeType::Array(_)),
        });
        match (found, wanted) {
            (Some(ty), _) => Ok((raw, ty)),
            (None, Wanted::Struct) => Err(ObjectError::NotStruct),
            (None, Wanted::Array) => Err(ObjectError::NotArray),
        }
    }

    /// Checks that a type is this store's engine's and keeps it as long as the store.
    fn admit_type(&mut self, ty: &RegisteredType) -> Result<(), ObjectError> {
        if !Arc::ptr_eq(ty.registry(), &self.config().types) {
            return Err(InstantiateError::WrongEngine {
                what: "object's type",
            }
            .into());
        }
        self.keep_type(ty);
        Ok(())
    }

    /// The form a value has in a field or element.
    fn lower_field(&self, field: &FieldType, value: &Value) -> Result<VmValue, ObjectError> {
        let ty = match field.storage {
            StorageType::I8 | StorageType::I16 => ValType::I32,
            StorageType::Val(ty) => ty,
        };
        Ok(value.lower(self, ty)?)
    }

    /// The value of a field or element.
    ///
    /// # Safety
    /// `value` was read from one of this type.
    unsafe fn lift_field(&mut self, field: &FieldType, value: &VmValue) -> Value {
        match field.storage {
            StorageType::I8 | StorageType::I16 => Value::I32(value.i32()),
            // SAFETY: as the caller says.
            StorageType::Val(ty) => unsafe { Value::lift(self, value, ty) },
        }
    }

    /// Makes a struct.
    ///
    /// # Errors
    /// When the type is no struct type or another engine's, the values are not those of its fields, or there is no room.
    pub fn struct_new(
        &mut self,
        ty: &RegisteredType,
        values: &[Value],
    ) -> Result<AnyRef, ObjectError> {
        let composite = &ty.ty().composite;
        let CompositeType::Struct(fields) = composite else {
            return Err(ObjectError::NotStruct);
        };
        self.admit_type(ty)?;
        if fields.fields.len() != values.len() {
            return Err(ObjectError::FieldCount {
                expected: fields.fields.len(),
                found: values.len(),
            });
        }
        let mut lowered = Vec::with_capacity(values.len());
        for (field, value) in fields.fields.iter().zip(values) {
            lowered.push(self.lower_field(field, value)?);
        }
        // What the values refer to is rooted by the references they were given as.
        let object = self.make_object(ty.id(), composite, Contents::Values(&lowered))?;
        Ok(self.root_raw(object)?)
    }

    fn struct_field(
        &self,
        reference: AnyRef,
        index: usize,
    ) -> Result<(u32, FieldType), ObjectError> {
        let (object, ty) = self.object(reference, Wanted::Struct)?;
        let CompositeType::Struct(fields) = &ty.ty().composite else {
            return Err(ObjectError::NotStruct);
        };
        let field = fields.fields.get(index).copied();
        let count = fields.fields.len();
        let field = field.ok_or(ObjectError::NoField { index, count })?;
        Ok((object, field))
    }

    /// A field of a struct; references are rooted in the current scope. Packed ones have zeros above.
    ///
    /// # Errors
    /// When it is no struct or has no such field; when the reference is another store's or its scope has ended.
    pub fn struct_get(&mut self, reference: AnyRef, index: usize) -> Result<Value, ObjectError> {
        let (object, field) = self.struct_field(reference, index)?;
        let value = self.read_field(object, index, field.storage);
        // SAFETY: the struct has a field of this type there.
        Ok(unsafe { self.lift_field(&field, &value) })
    }

    /// Assigns a field of a struct.
    ///
    /// # Errors
    /// As [`struct_get`](Self::struct_get), and when the field cannot be assigned or the value is of another type.
    pub fn struct_set(
        &mut self,
        reference: AnyRef,
        index: usize,
        value: &Value,
    ) -> Result<(), ObjectError> {
        let (object, field) = self.struct_field(reference, index)?;
        if !field.mutable {
            return Err(ObjectError::Immutable);
        }
        let value = self.lower_field(&field, value)?;
        self.write_field(object, index, field.storage, value);
        Ok(())
    }

    fn array_type(ty: &RegisteredType) -> Result<FieldType, ObjectError> {
        match &ty.ty().composite {
            CompositeType::Array(ty) => Ok(ty.element),
            _ => Err(ObjectError::NotArray),
        }
    }

    /// Makes an array of `len` elements of one value.
    ///
    /// # Errors
    /// When the type is no array type or another engine's, the value is of another type, or there is no room.
    pub fn array_new(
        &mut self,
        ty: &RegisteredType,
        value: &Value,
        len: u32,
    ) -> Result<AnyRef, ObjectError> {
        let element = Self::array_type(ty)?;
        self.admit_type(ty)?;
        let value = self.lower_field(&element, value)?;
        let contents = Contents::Repeated(value, len);
        let object = self.make_object(ty.id(), &ty.ty().composite, contents)?;
        Ok(self.root_raw(object)?)
    }

    /// Makes an array of these elements.
    ///
    /// # Errors
    /// As [`array_new`](Self::array_new).
    pub fn array_new_fixed(
        &mut self,
        ty: &RegisteredType,
        values: &[Value],
    ) -> Result<AnyRef, ObjectError> {
        let element = Self::array_type(ty)?;
        self.admit_type(ty)?;
        if u32::try_from(values.len()).is_err() {
            return Err(GcError::TooLarge.into());
        }
        let mut lowered = Vec::with_capacity(values.len());
        for value in values {
            lowered.push(self.lower_field(&element, value)?);
        }
        let contents = Contents::Values(&lowered);
        let object = self.make_object(ty.id(), &ty.ty().composite, contents)?;
        Ok(self.root_raw(object)?)
    }

    /// Makes an array of bytes.
    ///
    /// # Errors
    /// As [`array_new`](Self::array_new), and when elements are no bytes.
    pub fn array_new_bytes(
        &mut self,
        ty: &RegisteredType,
        bytes: &[u8],
    ) -> Result<AnyRef, ObjectError> {
        if Self::array_type(ty)?.storage != StorageType::I8 {
            return Err(ObjectError::NotBytes);
        }
        self.admit_type(ty)?;
        let Ok(len) = u32::try_from(bytes.len()) else {
            return Err(GcError::TooLarge.into());
        };
        let contents = Contents::Repeated(VmValue::default(), len);
        let object = self.make_object(ty.id(), &ty.ty().composite, contents)?;
        self.write_elements(self.array(object), 0, bytes);
        Ok(self.root_raw(object)?)
    }

    /// Copies an array of bytes.
    ///
    /// # Errors
    /// When it is no array, elements are no bytes, or there are not as many as places; when the reference is another store's or its
    /// scope has ended.
    pub fn array_read_bytes(
        &self,
        reference: AnyRef,
        places: &mut [u8],
    ) -> Result<(), ObjectError> {
        let (object, ty) = self.object(reference, Wanted::Array)?;
        if Self::array_type(&ty)?.storage != StorageType::I8 {
            return Err(ObjectError::NotBytes);
        }
        let array = self.array(object);
        if places.len() != array.len as usize {
            return Err(ObjectError::ByteCount {
                len: array.len,
                places: places.len(),
            });
        }
        places.copy_from_slice(self.read_elements(array));
        Ok(())
    }

    /// How many elements an array has.
    ///
    /// # Errors
    /// When it is no array; when the reference is another store's or its scope has ended.
    pub fn array_len(&self, reference: AnyRef) -> Result<u32, ObjectError> {
        let (object, _) = self.object(reference, Wanted::Array)?;
        Ok(self.array(object).len)
    }

    fn array_element(
        &self,
        reference: AnyRef,
        index: u32,
    ) -> Result<(ArrayRef, FieldType), ObjectError> {
        let (object, ty) = self.object(reference, Wanted::Array)?;
        let array = self.array(object);
        if index >= array.len {
            return Err(ObjectError::OutOfBounds {
                index,
                len: array.len,
            });
        }
        Ok((array, Self::array_type(&ty)?))
    }

    /// An element of an array; references are rooted in the current scope. Packed ones have zeros above.
    ///
    /// # Errors
    /// When it is no array or has no such element; when the reference is another store's or its scope has ended.
    pub fn array_get(&mut self, reference: AnyRef, index: u32) -> Result<Value, ObjectError> {
        let (array, element) = self.array_element(reference, index)?;
        let value = self.read_element(array, index, element.storage);
        // SAFETY: the array's elements are of this type.
        Ok(unsafe { self.lift_field(&element, &value) })
    }

    /// Assigns an element of an array.
    ///
    /// # Errors
    /// As [`array_get`](Self::array_get), and when elements cannot be assigned or the value is of another type.
    pub fn array_set(
        &mut self,
        reference: AnyRef,
        index: u32,
        value: &Value,
    ) -> Result<(), ObjectError> {
        let (array, element) = self.array_element(reference, index)?;
        if !element.mutable {
            return Err(ObjectError::Immutable);
        }
        let value = self.lower_field(&element, value)?;
        self.write_element(array, index, element.storage, value);
        Ok(())
    }
}
