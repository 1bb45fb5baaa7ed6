function 0 `copy_16`
  [wasm 0x29]
       push rbp
       mov rbp, rsp
       mov rax, rdx
  [wasm 0x30]
       mov r10, [rdi-0x20]
       mov r10, [r10+8]
       xor edx, edx
       mov ecx, esi
       mov r8d, eax
       mov r9d, 0x10
       mov rsi, rdx
       call r10
  [wasm 0x34]
       mov rsp, rbp
       pop rbp
       ret

function 1 `zero_24`
  [wasm 0x36]
       push rbp
       mov rbp, rsp
  [wasm 0x3d]
       mov r8, [rdi-0x20]
       mov r9, [r8+0x10]
  [wasm 0x39]
       xor ecx, ecx
  [wasm 0x3d]
       mov edx, esi
       mov r8d, 0x18
       mov rsi, rcx
       call r9
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
