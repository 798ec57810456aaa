"""Why a library could not be opened, or could not be."""
