function 0 `field`
  [wasm 0x3c]
       push rbp
       mov rbp, rsp
  [wasm 0x3f]
       mov esi, esi
       mov eax, [rdi+rsi+4]                     ; trap: out of bounds memory access
  [wasm 0x42]
       mov rsp, rbp
       pop rbp
       ret

function 1 `most`
  [wasm 0x44]
       push rbp
       mov rbp, rsp
  [wasm 0x4f]
       cmp edx, esi
       mov rax, rsi
       cmovge eax, edx
       mov rsp, rbp
       pop rbp
       ret

function 2 `step`
  [wasm 0x51]
       push rbp
       mov rbp, rsp
  [wasm 0x57]
       test esi, 1
       jne L0
  [wasm 0x67]
       shr esi, 1
       mov rax, rsi
       jmp L1
  [wasm 0x5d]
   L0:
       imul r8d, esi, 3
  [wasm 0x61]
       lea eax, [r8+1]
  [wasm 0x68]
   L1:
       mov rsp, rbp
       pop rbp
       ret

function 3 (export `largest`)
  [wasm 0x6a]
       push rbp
       mov rbp, rsp
  [wasm 0x3f, function 0 `field`, inlined]
       mov r8d, esi
       mov eax, [rdi+r8+4]                      ; trap: out of bounds memory access
       mov r8d, eax
       mov edi, [rdi+r8+4]                      ; trap: out of bounds memory access
       cmp edi, eax
       cmovge eax, edi
  [wasm 0x77]
       mov rsp, rbp
       pop rbp
       ret

function 4 (export `steps`)
  [wasm 0x79]
       push rbp
       mov rbp, rsp
  [wasm 0x80]
       xor eax, eax
  [wasm 0x57, function 2 `step`, inlined]
   L0:
       test esi, 1
       jne L1
  [wasm 0x67, function 2 `step`, inlined]
       shr esi, 1
       jmp L2
  [wasm 0x61, function 2 `step`, inlined]
   L1:
       imul ecx, esi, 3
       lea esi, [rcx+1]
  [wasm 0x8e]
   L2:
       add eax, 1
       cmp esi, 1
       jne L0
  [wasm 0x93]
       mov rsp, rbp
       pop rbp
       ret
