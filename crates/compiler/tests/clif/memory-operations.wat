(module
  (memory 1)
  (data $d "x")
  (func (param i32) (result i32)
    local.get 0
    memory.grow)
  (func (result i32)
    memory.size)
  (func (param i32 i32 i32)
    local.get 0
    local.get 1
    local.get 2
    memory.fill)
  (func (param i32 i32 i32)
    local.get 0
    local.get 1
    local.get 2
    memory.init $d
    data.drop $d))
