"""What is loaded: link_maps, their images, private fields, symbol tables and files."""
