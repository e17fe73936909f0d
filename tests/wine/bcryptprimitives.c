/* Rust's standard library asks this library of Windows for random bytes. Wine has it from version 8.13 on;
   for an older one (Debian 12) run.sh builds this. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG count); /* advapi32's RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) {
    return SystemFunction036(bytes, (ULONG)count);
}
