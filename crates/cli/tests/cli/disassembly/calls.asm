function 1 `fibonacci`
  [wasm 0x5e]
       push rbp
       mov rbp, rsp
       sub rsp, 0x20
       mov [rsp], rbx
       mov [rsp+8], r12
       mov [rsp+0x10], r13
       mov [rsp+0x18], r14
       mov rbx, rsi
       mov r13, rdi
  [wasm 0x64]
       cmp esi, 2
       jb L3
  [no operator]
       mov rsi, rbx
       mov rax, rsi
  [wasm 0x6d]
       sub eax, 1
  [wasm 0x64, function 1 `fibonacci`, inlined]
       cmp eax, 2
       jb L0
  [no operator, function 1 `fibonacci`, inlined]
       mov rsi, rbx
  [wasm 0x6e, function 1 `fibonacci`, inlined]
       sub esi, 2
       mov rdi, r13
       call .. ; itself
       mov rcx, rbx
       mov r12, rax
       mov rsi, rcx
  [wasm 0x75, function 1 `fibonacci`, inlined]
       sub esi, 3
       mov rdi, r13
       call .. ; itself
       mov rcx, r12
  [wasm 0x77, function 1 `fibonacci`, inlined]
       lea r12d, [rcx+rax]
       mov rsi, rbx
  [wasm 0x78, function 1 `fibonacci`, inlined]
       jmp L1
  [no operator, function 1 `fibonacci`, inlined]
   L0:
       mov rsi, rbx
       mov r12, rsi
  [wasm 0x68, function 1 `fibonacci`, inlined]
       sub r12d, 1
  [no operator, function 1 `fibonacci`, inlined]
   L1:
       mov rsi, rbx
       mov rcx, rsi
  [wasm 0x64, function 1 `fibonacci`, inlined]
       sub ecx, 2
       cmp ecx, 2
       jb L2
  [no operator, function 1 `fibonacci`, inlined]
       mov rsi, rbx
  [wasm 0x6e, function 1 `fibonacci`, inlined]
       sub esi, 3
       mov rdi, r13
       call .. ; itself
       mov rsi, rbx
       mov r14, rax
  [wasm 0x75, function 1 `fibonacci`, inlined]
       sub esi, 4
       mov rbx, rsi
       mov rdi, r13
       call .. ; itself
       mov rcx, r14
  [wasm 0x77, function 1 `fibonacci`, inlined]
       add ecx, eax
  [wasm 0x77]
   L2:
       lea eax, [r12+rcx]
  [wasm 0x78]
       jmp L4
  [no operator]
   L3:
       mov rax, rbx
  [wasm 0x79]
   L4:
       mov rbx, [rsp]
       mov r12, [rsp+8]
       mov r13, [rsp+0x10]
       mov r14, [rsp+0x18]
       add rsp, 0x20
       mov rsp, rbp
       pop rbp
       ret

function 2 `import`
  [wasm 0x7b]
       push rbp
       mov rbp, rsp
  [wasm 0x7e]
       mov r8, [rdi-0x88]
       mov rdi, [rdi-0x80]
       call r8
  [wasm 0x80]
       mov rsp, rbp
       pop rbp
       ret

function 3 `by_fixed_table`
  [wasm 0x82]
       push rbp
       mov rbp, rsp
  [wasm 0x87]
       mov edx, esi
       xor rcx, rcx
       lea rax, [rip+..]
       lea rsi, [rax+rdx*8]
       cmp rdx, 3
       cmovae rsi, rcx
       mov rcx, [rsi]                           ; trap: undefined element: out of bounds table access
       cmp ecx, 1
       jne L0
       shr rcx, 0x20
       add rax, rcx
  [wasm 0x83]
       mov esi, 7
  [wasm 0x87]
       call rax
  [wasm 0x8a]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x87]
   L0:
       test ecx, ecx
       je L1
       ud2                                      ; trap: indirect call type mismatch
   L1:
       ud2                                      ; trap: uninitialized element

function 4 `by_exported_table`
  [wasm 0x8c]
       push rbp
       mov rbp, rsp
       sub rsp, 0x10
       mov [rsp], rbx
  [wasm 0x91]
       mov rax, [rdi-0x40]
       mov rcx, [rdi-0x38]
       mov edx, esi
       xor rsi, rsi
       lea rax, [rax+rdx*8]
       cmp rdx, rcx
       cmovae rax, rsi
       mov rcx, [rax]                           ; trap: undefined element: out of bounds table access
       mov rax, rcx
       and rax, 0xfffffffffffffffe
       test rcx, rcx
       je L1
  [no operator]
       mov rbx, rdi
  [wasm 0x91]
   L0:
       mov ecx, [rax+0x18]                      ; trap: uninitialized element
       mov rdx, [rbx-0x28]
       cmp ecx, [rdx]
       jne L2
       mov rcx, [rax]
       mov rdi, [rax+8]
  [wasm 0x8d]
       mov esi, 7
  [wasm 0x91]
       call rcx
  [wasm 0x94]
       mov rbx, [rsp]
       add rsp, 0x10
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x91]
   L1:
       mov rax, [rdi-0x20]
       mov rbx, rdi
       mov rax, [rax+0x40]
       mov esi, 1
       call rax
       jmp L0
   L2:
       ud2                                      ; trap: indirect call type mismatch

function 5 `by_reference`
  [wasm 0x96]
       push rbp
       mov rbp, rsp
  [wasm 0x9b]
       mov r8, [rsi]                            ; trap: null reference
       mov rdi, [rsi+8]
  [wasm 0x97]
       mov esi, 7
  [wasm 0x9b]
       call r8
  [wasm 0x9d]
       mov rsp, rbp
       pop rbp
       ret

function 6 `tail`
  [wasm 0x9f]
       push rbp
       mov rbp, rsp
  [wasm 0xa2]
       mov rsp, rbp
       pop rbp
       jmp 0x20                                 ; function 1 `fibonacci`
