//! Which operator goes where.

use super::CompileError;
use super::call::Tail;
use super::simd;
use super::state::FuncLowering;
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use wasmparser::Operator;

impl FuncLowering<'_> {
    /// Lowers an operator that the validator accepted.
    ///
    /// # Errors
    /// When it is not translated.
    pub(super) fn lower_operator(&mut self, operator: &Operator<'_>) -> Result<(), CompileError> {
        if !self.reachable {
            return self.skip(operator);
        }
        self.count(operator);
        use Operator as O;
        match operator {
            O::Nop => {}
            O::Drop => {
                self.pop1();
            }
            O::LocalGet { local_index } => self.local_get(*local_index),
            O::LocalSet { local_index } => self.local_set(*local_index),
            O::LocalTee { local_index } => self.local_tee(*local_index),

            O::Block { blockty } => self.block(*blockty),
            O::Loop { blockty } => self.loop_(*blockty),
            O::If { blockty } => self.if_(*blockty),
            O::Else => self.else_(),
            O::End => self.end()?,
            O::Br { relative_depth } => self.br(*relative_depth),
            O::BrIf { relative_depth } => self.br_if(*relative_depth),
            O::BrTable { targets } => self.br_table(targets)?,
            O::Return => self.return_(),
            O::Unreachable => self.unreachable(),

            O::TryTable { try_table } => self.try_table(try_table),
            O::Throw { tag_index } => self.throw(*tag_index),
            O::ThrowRef => self.throw_ref(),

            O::Call { function_index } => self.call(*function_index, Tail::No)?,
            O::CallIndirect {
                type_index,
                table_index,
            } => self.call_indirect(*type_index, *table_index, Tail::No),
            O::CallRef { type_index } => self.call_ref(*type_index, Tail::No),
            O::ReturnCall { function_index } => self.call(*function_index, Tail::Yes)?,
            O::ReturnCallIndirect {
                type_index,
                table_index,
            } => self.call_indirect(*type_index, *table_index, Tail::Yes),
            O::ReturnCallRef { type_index } => self.call_ref(*type_index, Tail::Yes),

            O::GlobalGet { global_index } => self.global_get(*global_index),
            O::GlobalSet { global_index } => self.global_set(*global_index),

            O::Select | O::TypedSelect { .. } => self.select(),
            O::RefNull { hty } => self.ref_null(*hty)?,
            O::RefIsNull => self.ref_is_null(),
            O::RefFunc { function_index } => self.ref_func(*function_index),
            O::RefAsNonNull => self.ref_as_non_null(),
            O::BrOnNull { relative_depth } => self.br_on_null(*relative_depth),
            O::BrOnNonNull { relative_depth } => self.br_on_non_null(*relative_depth),

            O::I32Load { memarg } => self.load(I32, memarg)?,
            O::I64Load { memarg } => self.load(I64, memarg)?,
            O::F32Load { memarg } => self.load(F32, memarg)?,
            O::F64Load { memarg } => self.load(F64, memarg)?,
            O::I32Load8S { memarg } => self.load_extend(I32, I8, true, memarg)?,
            O::I32Load8U { memarg } => self.load_extend(I32, I8, false, memarg)?,
            O::I32Load16S { memarg } => self.load_extend(I32, I16, true, memarg)?,
            O::I32Load16U { memarg } => self.load_extend(I32, I16, false, memarg)?,
            O::I64Load8S { memarg } => self.load_extend(I64, I8, true, memarg)?,
            O::I64Load8U { memarg } => self.load_extend(I64, I8, false, memarg)?,
            O::I64Load16S { memarg } => self.load_extend(I64, I16, true, memarg)?,
            O::I64Load16U { memarg } => self.load_extend(I64, I16, false, memarg)?,
            O::I64Load32S { memarg } => self.load_extend(I64, I32, true, memarg)?,
            O::I64Load32U { memarg } => self.load_extend(I64, I32, false, memarg)?,
            O::I32Store { memarg } => self.store(I32, memarg)?,
            O::I64Store { memarg } => self.store(I64, memarg)?,
            O::F32Store { memarg } => self.store(F32, memarg)?,
            O::F64Store { memarg } => self.store(F64, memarg)?,
            O::I32Store8 { memarg } | O::I64Store8 { memarg } => self.store(I8, memarg)?,
            O::I32Store16 { memarg } | O::I64Store16 { memarg } => self.store(I16, memarg)?,
            O::I64Store32 { memarg } => self.store(I32, memarg)?,

            O::MemorySize { mem } => self.memory_size(*mem),
            O::MemoryGrow { mem } => self.memory_grow(*mem),
            O::MemoryCopy { dst_mem, src_mem } => self.memory_copy(*dst_mem, *src_mem),
            O::MemoryFill { mem } => self.memory_fill(*mem),
            O::MemoryInit { data_index, mem } => self.memory_init(*mem, *data_index),
            O::DataDrop { data_index } => self.data_drop(*data_index),

            O::TableGet { table } => self.table_get(*table),
            O::TableSet { table } => self.table_set(*table),
            O::TableSize { table } => self.table_size(*table),
            O::TableGrow { table } => self.table_grow(*table),
            O::TableFill { table } => self.table_fill(*table),
            O::TableCopy {
                dst_table,
                src_table,
            } => self.table_copy(*dst_table, *src_table),
            O::TableInit { elem_index, table } => self.table_init(*table, *elem_index),
            O::ElemDrop { elem_index } => self.elem_drop(*elem_index),

            other => {
                if !self.lower_numeric(other)
                    && !self.lower_gc(other)?
                    && !simd::lower(self, other)?
                    && !self.lower_atomic(other)?
                {
                    return Err(self.unsupported(format!("instruction {other:?}")));
                }
            }
        }
        Ok(())
    }

    /// Passes an operator that is never reached, watching for the end of the unreachable part.
    ///
    /// # Errors
    /// When what ends there makes the function too large.
    fn skip(&mut self, operator: &Operator<'_>) -> Result<(), CompileError> {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => self.skipped_blocks += 1,
            Operator::Else if self.skipped_blocks == 0 => self.else_(),
            Operator::End if self.skipped_blocks == 0 => return self.end(),
            Operator::End => self.skipped_blocks -= 1,
            _ => {}
        }
        Ok(())
    }
}
