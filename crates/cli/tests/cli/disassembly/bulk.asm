function 0 `copy_16`
  [wasm 0x29]
       push rbp
       mov rbp, rsp
  [wasm 0x30]
       mov r8d, edx
       movdqu xmm6, [rdi+r8]                    ; trap: out of bounds memory access
       mov esi, esi
       movdqu [rdi+rsi], xmm6                   ; trap: out of bounds memory access
  [wasm 0x34]
       mov rsp, rbp
       pop rbp
       ret

function 1 `zero_24`
  [wasm 0x36]
       push rbp
       mov rbp, rsp
  [wasm 0x3d]
       pxor xmm5, xmm5
       mov esi, esi
       movdqu [rdi+rsi+8], xmm5                 ; trap: out of bounds memory access
       movdqu [rdi+rsi], xmm5                   ; trap: out of bounds memory access
  [wasm 0x40]
       mov rsp, rbp
       pop rbp
       ret

function 2 `copy`
  [wasm 0x42]
       push rbp
       mov rbp, rsp
       mov rax, rdx
       mov r9, rcx
  [wasm 0x49]
       mov r11, [rdi-0x20]
       mov r11, [r11+8]
       xor edx, edx
       mov ecx, esi
       mov r8d, eax
       mov rax, r9
       mov r9d, eax
       mov rsi, rdx
       call r11
  [wasm 0x4d]
       mov rsp, rbp
       pop rbp
       ret
