/* libisa.so says, by its GNU property, that it needs an x86-64 level that no CPU has. */
int isa(void);

__asm__(".section .note.gnu.property,\"a\",@note\n"
        ".balign 8\n"
        ".long 4, 16, 5\n"
        ".asciz \"GNU\"\n"
        ".long 0xc0008002, 4, 0x400, 0\n"
        ".previous");

int isa(void)
{
    return 1;
}
