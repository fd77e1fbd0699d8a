/* Writes to the file through a mapping. */
static void store(unsigned char *map, long offset, long len, int write)
{
	for (long at = offset; at < offset + len; at++)
		map[at] = pattern(at, write);
}
