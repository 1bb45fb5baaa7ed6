function 0 `callee`
  [wasm 0x2b]
       push rbp
       mov rbp, rsp
  [wasm 0x30]
       mov esi, esi
       mov dword ptr [rdi+rsi], 1               ; trap: out of bounds memory access
  [wasm 0x33]
       mov rsp, rbp
       pop rbp
       ret

function 1 `caller`
  [wasm 0x35]
       push rbp
       mov rbp, rsp
       sub rsp, 0x20
       mov [rsp], r12
       mov [rsp+8], r13
       mov [rsp+0x10], r14
  [wasm 0x38]
       mov r12d, [rdi-0x60]
       mov r13, r12
  [wasm 0x3c]
       sub r13d, 0x10
  [wasm 0x3f]
       mov [rdi-0x60], r13d
  [wasm 0x45]
       mov qword ptr [rdi+r13], 0               ; trap: out of bounds memory access
       mov r14, rdi
  [wasm 0x4d]
       lea esi, [r12-8]
       call 0                                   ; function 0 `callee`
  [wasm 0x51]
       mov r10d, [r14+r13]                      ; trap: out of bounds memory access
  [wasm 0x56]
       mov r11d, [r14+r13+8]                    ; trap: out of bounds memory access
  [wasm 0x61]
       mov [r14-0x60], r12d
  [wasm 0x59]
       lea eax, [r10+r11]
  [wasm 0x65]
       mov r12, [rsp]
       mov r13, [rsp+8]
       mov r14, [rsp+0x10]
       add rsp, 0x20
       mov rsp, rbp
       pop rbp
       ret
