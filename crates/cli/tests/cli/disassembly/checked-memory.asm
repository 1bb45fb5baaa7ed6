function 0 `sum`
  [wasm 0x24]
       push rbp
       mov rbp, rsp
  [wasm 0x25]
       mov r10, [rdi-0x40]
       mov rcx, [rdi-0x48]
  [wasm 0x35]
       xor rax, rax
  [wasm 0x2d]
   L0:
       lea r8, [rcx+rsi]
       xor r9, r9
       cmp rsi, r10
       cmovae r8, r9
       mov r9, [r8]                             ; trap: out of bounds memory access
       mov r8, rdx
       sub r8d, 1
       add rax, r9
  [wasm 0x42]
       add rsi, 8
       sub rdx, 1
       test r8d, r8d
       jne L0
  [wasm 0x47]
       mov rsp, rbp
       pop rbp
       ret

function 1 `fields`
  [wasm 0x49]
       push rbp
       mov rbp, rsp
  [wasm 0x4a]
       mov r11, [rdi-0x40]
       mov rcx, [rdi-0x48]
  [wasm 0x4c]
       xor rax, rax
       lea r10, [rcx+rsi]
       cmp rsi, r11
       cmovae r10, rax
       mov rax, [r10]                           ; trap: out of bounds memory access
  [wasm 0x51]
       add rax, [r10+8]                         ; trap: out of bounds memory access
  [wasm 0x57]
       add rax, [r10+0x10]                      ; trap: out of bounds memory access
  [wasm 0x5b]
       mov rsp, rbp
       pop rbp
       ret
