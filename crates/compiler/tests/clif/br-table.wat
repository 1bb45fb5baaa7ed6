(module
  (func (param i32) (result i32)
    block $a
      block $b
        block $c
          local.get 0
          br_table $a $b $a $c
        end
        i32.const 3
        return
      end
      i32.const 2
      return
    end
    i32.const 1)
  ;; Targets that take a value, one of them the function itself.
  (func (param i32) (result i32)
    block $a (result i32)
      i32.const 10
      local.get 0
      br_table $a 1 $a
    end
    i32.const 1
    i32.add)
  (func (param i32)
    local.get 0
    br_table 0))
