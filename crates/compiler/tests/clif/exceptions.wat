(module
  (tag $t (param i32 i64))
  (tag $empty)
  (func $throws (param i32 i64) (result f32)
    local.get 0
    local.get 1
    throw $t)
  ;; The innermost clauses come first, and nothing after one that catches everything.
  (func (result i32 i64)
    block $caught (result i32 i64)
      block $any
        try_table (result f32) (catch $t $caught) (catch_all $any)
          try_table (result f32) (catch $empty $any)
            i32.const 1
            i64.const 2
            call $throws
          end
        end
        drop
      end
      i32.const 0
      i64.const 0
    end)
  (func (param exnref) (result exnref)
    block $caught (result exnref)
      try_table (catch_all_ref $caught)
        local.get 0
        throw_ref
      end
      unreachable
    end)
  ;; No call inside: no handlers.
  (func (result i32)
    block $caught
      try_table (catch_all $caught)
        nop
      end
    end
    i32.const 1))
