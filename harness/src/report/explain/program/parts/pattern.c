/*
 * What stands at an offset of the file: another byte after each write to it, so that a
 * byte says which write it is from. The file as it is made is write 0.
 */
static unsigned char pattern(long offset, int write)
{
	return offset * 31 + offset / 256 * 17 + write;
}
