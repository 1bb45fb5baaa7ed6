(module
  ;; A block that nothing branches to is no block.
  (func (param i32) (result i32)
    block (result i32)
      local.get 0
    end)
  ;; A loop with a local that changes.
  (func (param i32) (result i32)
    (local i32)
    loop
      local.get 1
      local.get 0
      i32.add
      local.set 1
      local.get 0
      i32.const 1
      i32.sub
      local.tee 0
      br_if 0
    end
    local.get 1)
  ;; `if` without `else`, and with parameters.
  (func (param i32) (result i32)
    local.get 0
    i32.eqz
    if
      i32.const 5
      local.set 0
    end
    local.get 0)
  (func (param i32) (result i32)
    i32.const 1
    local.get 0
    if (param i32) (result i32)
      i32.const 2
      i32.add
    end)
  (func (param i32) (result i32)
    local.get 0
    if (result i32)
      i32.const 2
    else
      i32.const 3
    end)
  ;; A branch out of an arm.
  (func (param i32)
    local.get 0
    if
      local.get 0
      br_if 0
      unreachable
    end)
  ;; Dead code after a return.
  (func (result i32)
    i32.const 1
    return
    loop
      br 0
    end
    i32.add))
