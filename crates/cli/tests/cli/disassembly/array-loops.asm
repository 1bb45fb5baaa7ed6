function 0 `sum`
  [wasm 0x38]
       push rbp
       mov rbp, rsp
  [wasm 0x3f]
       xor eax, eax
  [wasm 0x40]
       test edx, edx
       je L1
  [wasm 0x42]
       xor eax, eax
       mov ecx, esi
  [wasm 0x48]
       mov rsi, [rdi-0x48]
   L0:
       mov edi, [rsi+rcx]                       ; trap: out of bounds memory access
       sub edx, 1
       add eax, edi
  [wasm 0x5c]
       add ecx, 4
       test edx, edx
       jne L0
  [wasm 0x62]
   L1:
       mov rsp, rbp
       pop rbp
       ret

function 1 `blur`
  [wasm 0x64]
       push rbp
       mov rbp, rsp
  [wasm 0x80]
       mov rax, [rdi-0x48]
  [wasm 0x7f]
   L0:
       lea edi, [rsi+rcx*8]
  [wasm 0x80]
       movsd xmm0, [rax+rdi]                    ; trap: out of bounds memory access
  [wasm 0x8b]
       addsd xmm0, [rax+rdi+0x10]               ; trap: out of bounds memory access
  [wasm 0x97]
       addsd xmm0, [rax+rdi+8]                  ; trap: out of bounds memory access
  [wasm 0x6e]
       mov rdi, 0x3fd0000000000000
       movq xmm1, rdi
       mulsd xmm1, xmm0
       lea edi, [rdx+rcx*8]
  [wasm 0x9c]
       movsd [rax+rdi+8], xmm1                  ; trap: out of bounds memory access
  [wasm 0xa6]
       sub ecx, 1
       test ecx, ecx
       jne L0
  [wasm 0xa9]
       mov rsp, rbp
       pop rbp
       ret

function 2 `length`
  [wasm 0xab]
       push rbp
       mov rbp, rsp
  [wasm 0xb4]
       mov eax, esi
  [wasm 0xb8]
       mov r8, [rdi-0x48]
   L0:
       movzx r9, byte ptr [r8+rax]              ; trap: out of bounds memory access
       test r9d, r9d
       je L1
  [wasm 0xc5]
       add eax, 1
       jmp L0
  [wasm 0xcd]
   L1:
       sub eax, esi
  [wasm 0xce]
       mov rsp, rbp
       pop rbp
       ret
