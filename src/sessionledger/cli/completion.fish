function __sessionledger_complete
    set -l line (commandline -cp)
    set -l found (_SESSIONLEDGER_COMPLETE=complete_fish COMP_WORDS=$line sessionledger)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command sessionledger --no-files --arguments '(__sessionledger_complete)'
