function 0 `dot`
  [wasm 0x32]
       push rbp
       mov rbp, rsp
  [wasm 0x35]
       pxor xmm0, xmm0
       mov r8d, esi
       mov r10d, edx
  [wasm 0x3b]
       mov rax, [rdi-0x48]
   L0:
       movdqu xmm1, [rax+r8]                    ; trap: out of bounds memory access
  [wasm 0x41]
       movdqu xmm2, [rax+r10]                   ; trap: out of bounds memory access
  [wasm 0x48]
       sub ecx, 1
  [wasm 0x45]
       pmaddwd xmm1, xmm2
  [wasm 0x48]
       paddd xmm0, xmm1
  [wasm 0x62]
       add r8d, 0x10
       add r10d, 0x10
       test ecx, ecx
       jne L0
  [wasm 0x67]
       mov rsp, rbp
       pop rbp
       ret

function 1 `reverse`
  [wasm 0x69]
       push rbp
       mov rbp, rsp
  [wasm 0x6e]
       pshufb xmm0, [rip+..]
  [wasm 0x80]
       mov rsp, rbp
       pop rbp
       ret
  [no operator]
       add [rax], al
       add [rax], al
       add [rax], al
       add [rax], al
       add [rax], al
       add [rax], al
       add [rax], al
       femms
       or eax, 0x90a0b0c
       or [rdi], al
       (bad)
       add al, 3
       add al, [rcx]
       (bad)

function 2 `scale`
  [wasm 0x82]
       push rbp
       mov rbp, rsp
  [wasm 0x87]
       shufps xmm1, xmm1, 0
  [wasm 0x89]
       mulps xmm0, xmm1
  [wasm 0x8c]
       mov rsp, rbp
       pop rbp
       ret

function 3 `mask`
  [wasm 0x8e]
       push rbp
       mov rbp, rsp
  [wasm 0x91]
       pxor xmm3, xmm3
  [wasm 0xa3]
       pcmpgtb xmm3, xmm0
  [wasm 0xa5]
       pmovmskb eax, xmm3
  [wasm 0xa7]
       mov rsp, rbp
       pop rbp
       ret
