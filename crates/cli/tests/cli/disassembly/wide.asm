function 0 `mul`
  [wasm 0x2d]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x32]
       mul rdx
       mov rcx, rdx
  [wasm 0x34]
       mov rsp, rbp
       pop rbp
       ret

function 1 `add`
  [wasm 0x36]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x3f]
       add rax, rcx
       mov rcx, rdx
       adc rcx, r8
  [wasm 0x41]
       mov rsp, rbp
       pop rbp
       ret

function 2 `high_from_pieces`
  [wasm 0x43]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x97]
       mul rdx
       mov rax, rdx
  [wasm 0x98]
       mov rsp, rbp
       pop rbp
       ret

function 3 `add_with_carry`
  [wasm 0x9a]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0xa1]
       add rax, rcx
       mov rcx, rdx
       adc rcx, r8
  [wasm 0xb2]
       mov rsp, rbp
       pop rbp
       ret
