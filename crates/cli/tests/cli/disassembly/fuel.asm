function 0 `count`
  [wasm 0x18]
       push rbp
       mov rbp, rsp
  [wasm 0x19]
       mov rax, r15
       test rax, rax
       jle L1
  [wasm 0x22]
   L0:
       mov rax, r15
       add rax, 0xfffffffffffffffb
       mov r15, rax
       sub esi, 1
       test esi, esi
       jne 4
  [wasm 0x25]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x19]
   L1:
       mov rax, [rdi-0x18]
       mov rcx, r15
       mov [rax+0x18], rcx
       mov rax, [rdi-0x20]
       mov rax, [rax+0xe0]
       call rax
       jmp L0

function 1 `twice`
  [wasm 0x27]
       push rbp
       mov rbp, rsp
       sub rsp, 0x10
       mov [rsp], rbx
       mov [rsp+8], r12
       mov r12, rsi
  [wasm 0x2a]
       mov r10, r15
       add r10, 0xfffffffffffffffe
       mov r15, r10
       test r10, r10
       jle L1
  [no operator]
       mov rbx, rdi
   L0:
       mov rsi, r12
       mov rdi, rbx
  [wasm 0x2a]
       call 0                                   ; function 0 `count`
  [wasm 0x2e]
       mov rax, r15
       add rax, 0xfffffffffffffffe
       mov r15, rax
       mov rsi, r12
       mov rdi, rbx
       call 0                                   ; function 0 `count`
  [wasm 0x30]
       mov rbx, [rsp]
       mov r12, [rsp+8]
       add rsp, 0x10
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x2a]
   L1:
       mov rax, [rdi-0x18]
       mov rcx, r15
       mov [rax+0x18], rcx
       mov rax, [rdi-0x20]
       mov rax, [rax+0xe0]
       call rax
       mov rbx, rdi
       jmp L0
