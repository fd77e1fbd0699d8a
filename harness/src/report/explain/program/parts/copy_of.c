static unsigned char *copy_of(long offset, long len)
{
	return memcpy(malloc(len), mapping + offset, len);
}
